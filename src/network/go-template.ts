// As much of Go's text/template as network templates for containerd use: values, range, if, else, variables, comments, and the
// dashes that take white space away.

type Value = string | number | readonly string[];
type Scope = { readonly dot: Value | Fields; readonly variables: ReadonlyMap<string, Value> };
type Fields = Readonly<Record<string, Value>>;
/** What a list is where it stands for itself, and not in a range. */
type PrintList = (field: string, list: readonly string[]) => string;

type Token = { readonly text: string; readonly isAction: boolean };
type Node = (scope: Scope) => string;
/** Nodes up to the action that ended them, `else ...` or `end`, or the end of the template: empty. */
type Block = { readonly body: Node; readonly endedBy: string };

/** @throws Error that shows the action which is none of those above, or has no end. */
export function executeTemplate(template: string, fields: Fields, printList: PrintList): string {
  const { body, endedBy } = new Parser(tokensOf(template), fields, printList).block();
  if (endedBy !== '') throw new Error(`{{${endedBy}}} ends nothing`);
  return body({ dot: fields, variables: new Map() });
}

function tokensOf(template: string): Token[] {
  const parts = template.split(/(\{\{[\s\S]*?\}\})/); // every second one is an action
  return parts.map((part, index) => {
    if (index % 2 === 1)
      return {
        text: part
          .slice(2, -2)
          .replace(/^-(?=\s)|(?<=\s)-$/g, '')
          .trim(),
        isAction: true,
      };
    const after = /\s-\}\}$/.test(parts[index - 1] ?? '');
    const before = /^\{\{-\s/.test(parts[index + 1] ?? '');
    const text = after ? part.trimStart() : part;
    return { text: before ? text.trimEnd() : text, isAction: false };
  });
}

class Parser {
  readonly #tokens: readonly Token[];
  readonly #fields: Fields;
  readonly #printList: PrintList;
  #at = 0;

  constructor(tokens: readonly Token[], fields: Fields, printList: PrintList) {
    this.#tokens = tokens;
    this.#fields = fields;
    this.#printList = printList;
  }

  block(): Block {
    const nodes: Node[] = [];
    const body: Node = (scope) => nodes.map((node) => node(scope)).join('');
    for (let token = this.#tokens[this.#at++]; token; token = this.#tokens[this.#at++]) {
      const { text, isAction } = token;
      if (!isAction) nodes.push(() => text);
      else if (/^(end|else\b.*)$/s.test(text)) return { body, endedBy: text };
      else if (!/^\/\*.*\*\/$/s.test(text)) nodes.push(this.#action(text));
    }
    return { body, endedBy: '' };
  }

  #action(text: string): Node {
    const [, word = '', rest = ''] = /^(range|if)\s+(.*)$/s.exec(text) ?? [];
    if (word === 'if') return this.#if(rest);
    if (word === 'range') return this.#range(rest);
    return (scope) => {
      const value = this.#value(text, scope);
      return typeof value === 'object' ? this.#printList(text.replace(/^\$?\./, ''), value) : String(value);
    };
  }

  #if(condition: string): Node {
    const { then, otherwise } = this.#branches(`if ${condition}`);
    return (scope) => (isTrue(this.#value(condition, scope)) ? then : otherwise)(scope);
  }

  #range(clause: string): Node {
    const [, names = '', of = clause] = /^(\$\w+(?:\s*,\s*\$\w+)?)\s*:=\s*(.*)$/s.exec(clause) ?? [];
    const [first, second] = names.split(',').map((name) => name.trim());
    const { then, otherwise } = this.#branches(`range ${clause}`);
    return (scope) => {
      const list = this.#value(of, scope);
      if (typeof list !== 'object') throw new Error(`{{range ${clause}}}: ${of} is no list`);
      if (list.length === 0) return otherwise(scope);
      const each = list.map((item, index) => {
        const values: [name: string | undefined, Value][] = second
          ? [
              [first, index],
              [second, item],
            ]
          : [[first, item]];
        const named = values.flatMap(([name, value]) => (name ? [[name, value] as const] : []));
        return then({ dot: item, variables: new Map([...scope.variables, ...named]) });
      });
      return each.join('');
    };
  }

  #branches(of: string): { readonly then: Node; readonly otherwise: Node } {
    const { body: then, endedBy } = this.block();
    if (endedBy === 'end') return { then, otherwise: () => '' };
    const [, condition = ''] = /^else\s+if\s+(.*)$/s.exec(endedBy) ?? [];
    if (condition !== '') return { then, otherwise: this.#if(condition) };
    const last = endedBy === 'else' ? this.block() : { body: then, endedBy };
    if (last.endedBy !== 'end') throw new Error(`{{${of.slice(0, 100)}}} has no {{end}}`);
    return { then, otherwise: last.body };
  }

  /** `.`, `.Field`, `$.Field` or `$variable`. */
  #value(text: string, { dot, variables }: Scope): Value {
    const isFields = typeof dot === 'object' && !Array.isArray(dot);
    const [, root, field = ''] = /^(\$?)\.(\w*)$/.exec(text) ?? [];
    const fields = root === '$' ? this.#fields : isFields ? (dot as Fields) : {};
    const value = variables.get(text) ?? (text === '.' && !isFields ? (dot as Value) : undefined);
    if (value !== undefined) return value;
    if (root !== undefined && Object.hasOwn(fields, field)) return fields[field]!;
    const known = Object.keys(this.#fields).map((name) => `.${name}`);
    throw new Error(`{{${text.slice(0, 100)}}} is not known here: ${known.join(', ')}, range, if, else, end`);
  }
}

const isTrue = (value: Value): boolean => (typeof value === 'object' ? value.length > 0 : value !== 0 && value !== '');
