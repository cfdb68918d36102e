"""`python -m workers --queues interactive,batch`: one worker slot."""

import sys

from workers.supervisor import main

if __name__ == "__main__":
    sys.exit(main())
