// What a directory tree is, in full: to compare two of them.
import { execFileSync } from 'node:child_process';

/** Prints one JSON object: path -> facts. Names as Python's surrogateescape shows them; hard links by their first name. */
const program = `
import hashlib, json, os, stat, sys
root = os.fsencode(sys.argv[1]); out = {}; first = {}
def visit(path):
    full = os.path.join(root, path) if path else root
    st = os.lstat(full); kind = stat.S_IFMT(st.st_mode)
    fact = {'mode': oct(st.st_mode), 'uid': st.st_uid, 'gid': st.st_gid}
    xattrs = {n: os.getxattr(full, n, follow_symlinks=False).hex() for n in os.listxattr(full, follow_symlinks=False)}
    if xattrs: fact['xattrs'] = xattrs
    if path: fact['mtime'] = st.st_mtime_ns
    if kind == stat.S_IFLNK: fact['link'] = os.readlink(full).decode('utf8', 'surrogateescape')
    if kind in (stat.S_IFCHR, stat.S_IFBLK): fact['device'] = [os.major(st.st_rdev), os.minor(st.st_rdev)]
    if kind == stat.S_IFREG:
        with open(full, 'rb') as f: fact['content'] = hashlib.sha256(f.read()).hexdigest()
        fact['size'] = st.st_size
    name = path.decode('utf8', 'surrogateescape')
    if kind != stat.S_IFDIR and st.st_nlink > 1:
        fact['same'] = first.setdefault((st.st_dev, st.st_ino), name)
    out[name] = fact
    if kind == stat.S_IFDIR:
        for child in sorted(os.listdir(full)): visit(os.path.join(path, child))
visit(b'')
print(json.dumps(out, sort_keys=True))
`;

export type Facts = Readonly<Record<string, Record<string, unknown>>>;

export const describeTree = (root: string): Facts =>
  JSON.parse(execFileSync('/usr/bin/python3', ['-c', program, root], { encoding: 'utf8', maxBuffer: 1 << 28 }));
