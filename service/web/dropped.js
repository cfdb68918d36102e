// Files from a drop, folders walked, and what their first bytes say they are: names are not trusted.

const MAGIC = [
  ["JPEG", [0xff, 0xd8, 0xff]],
  ["PNG", [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]],
  ["TIFF", [0x49, 0x49, 0x2a, 0x00]],
  ["TIFF", [0x4d, 0x4d, 0x00, 0x2a]],
  ["zip", [0x50, 0x4b, 0x03, 0x04]],
];

/** JPEG, PNG, TIFF, zip, or null: only a hint for the person, the service decides. */
export async function kindOf(file) {
  const head = new Uint8Array(await file.slice(0, 8).arrayBuffer());
  return MAGIC.find(([, magic]) => magic.every((byte, place) => head[place] === byte))?.[0] ?? null;
}

/** A dropped folder looks like a file that cannot be read, so entries are asked. */
export async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (entries.length === 0) return [...transfer.files];
  return (await Promise.all(entries.map(walk))).flat();
}

async function walk(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    // readEntries gives at most a hundred at a time and an empty list at the end.
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return found;
    found.push(...(await Promise.all(some.map(walk))).flat());
  }
}
