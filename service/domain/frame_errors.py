"""Why a frame could not be read: the closed codes that workers store, each with a sentence for people.

A test compares them with the codes of decoders, archives and the sandbox.
"""

FRAME_ERRORS: dict[str, str] = {
    "animated": "More than one image in a file.",
    "corrupt": "The image is damaged.",
    "corrupt_member": "The file is damaged within its archive.",
    "decoder_died": "Reading it ended the decoder.",
    "decoder_timeout": "Reading it took too long.",
    "empty": "No bytes.",
    "out_of_memory": "Reading it takes more memory than a frame may have.",
    "too_large": "More bytes than a frame may have.",
    "too_many_pixels": "More pixels than a frame may have.",
    "too_many_scans": "A JPEG with more scans than any camera writes.",
    "truncated": "The file ends too early.",
    "unknown_format": "Not a JPEG, PNG or TIFF.",
    "unreadable_member": "Not a plain file, or one that cannot be opened.",
    "unsupported_mode": "A colour mode, depth or compression that is not read.",
}
