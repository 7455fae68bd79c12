type Node<T> = { value?: T; children?: Map<string, Node<T>> };

/** What is known of paths (clean, relative; '' is the root). All at and below one are forgotten in as many steps as it is deep. */
export class PathMap<T> {
  readonly #root: Node<T> = {};

  set(path: string, value: T): void {
    let node = this.#root;
    for (const part of partsOf(path)) {
      node.children ??= new Map();
      const next: Node<T> = node.children.get(part) ?? {};
      node.children.set(part, next);
      node = next;
    }
    node.value = value;
  }

  has(path: string): boolean {
    return this.#find(path)?.value !== undefined;
  }

  delete(path: string): boolean {
    const node = this.#find(path);
    if (node?.value === undefined) return false;
    delete node.value;
    return true;
  }

  /** Forgets `path`, which is not the root, and all below it. */
  deleteTree(path: string): void {
    const slash = path.lastIndexOf('/');
    const parent = this.#find(path.slice(0, Math.max(slash, 0)));
    parent?.children?.delete(path.slice(slash + 1));
  }

  get(path: string): T | undefined {
    return this.#find(path)?.value;
  }

  /** Whether something is known of `path` or of a directory above it. */
  covers(path: string): boolean {
    let node: Node<T> | undefined = this.#root;
    for (const part of partsOf(path)) {
      if (node?.value !== undefined) return true;
      node = node?.children?.get(part);
      if (!node) return false;
    }
    return node?.value !== undefined;
  }

  /** Of what is at and below `from`. Those above come before those below. */
  *entries(from = ''): Generator<[path: string, value: T]> {
    const first = this.#find(from);
    const todo: [string, Node<T>][] = first ? [[from, first]] : [];
    for (let next = todo.pop(); next; next = todo.pop()) {
      const [path, { value, children }] = next;
      if (value !== undefined) yield [path, value];
      for (const [name, child] of children ?? []) todo.push([path === '' ? name : `${path}/${name}`, child]);
    }
  }

  *keys(): Generator<string> {
    for (const [path] of this.entries()) yield path;
  }

  #find(path: string): Node<T> | undefined {
    let node: Node<T> | undefined = this.#root;
    for (const part of partsOf(path)) node = node?.children?.get(part);
    return node;
  }
}

const partsOf = (path: string): string[] => (path === '' ? [] : path.split('/'));
