/** One way a server offers to be convinced (RFC 9110, 11.6.1). Scheme and parameter names in lower case. */
export type Challenge = { readonly scheme: string; readonly parameters: ReadonlyMap<string, string> };

const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+/;
const maxLength = 8192;

/** Parses WWW-Authenticate: several challenges, quoted strings with escapes. What makes no sense ends the parsing. */
export function parseChallenges(header: string): Challenge[] {
  const result: { scheme: string; parameters: Map<string, string> }[] = [];
  let rest = header.slice(0, maxLength).trimStart();
  while (rest !== '') {
    const name = token.exec(rest)?.[0];
    if (name === undefined) break;
    const after = rest.slice(name.length);
    const equals = /^[ \t]*=(?![ \t]*(?:=|,|$))[ \t]*/.exec(after);
    const current = result.at(-1);
    if (equals && current) {
      const [value, length] = parameterValue(after.slice(equals[0].length));
      if (!current.parameters.has(name.toLowerCase())) current.parameters.set(name.toLowerCase(), value);
      rest = after.slice(equals[0].length + length);
    } else if (equals) {
      break;
    } else {
      result.push({ scheme: name.toLowerCase(), parameters: new Map() });
      // A token68 (as in `Negotiate dGVzdA==`) belongs to no scheme that is used here.
      rest = after.replace(/^[ \t]+[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))/, '');
    }
    rest = rest.replace(/^[ \t,]+/, '');
  }
  return result;
}

function parameterValue(text: string): [value: string, length: number] {
  const quoted = /^"((?:[^"\\]|\\.)*)"/.exec(text);
  if (quoted) return [quoted[1]!.replace(/\\(.)/g, '$1'), quoted[0].length];
  const plain = /^[^\s,"]+/.exec(text)?.[0] ?? '';
  return [plain, Math.max(plain.length, 1)];
}
