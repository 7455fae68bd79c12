import { parseDocument, type ScalarTag, type Tags, YAMLParseError } from 'yaml';
import { noText } from '../../base/parse.ts';

/** YAML 1.2's own octal numbers, which Go's library takes beside those of 1.1. */
const newOctal: ScalarTag = {
  tag: 'tag:yaml.org,2002:int',
  default: true,
  test: /^0o[0-7]+$/,
  resolve: (text: string) => Number.parseInt(text.slice(2), 8),
};

/** 1.1 makes a number of `1:30` and a time of a date; Go's library, where a text is wanted, does not. */
const isOfTime = (tag: Tags[number]): boolean =>
  typeof tag !== 'string' && (('format' in tag && tag.format === 'TIME') || tag.tag.endsWith(':timestamp'));

/**
 * Reads YAML as the library of CDI does, which is Go's: by the rules of 1.1, where `fileMode: 0640` is octal, and of several
 * documents in a file the first.
 * @throws Error that says where it is none, and quotes nothing
 */
export function parseCdiYaml(source: string): unknown {
  try {
    const document = parseDocument(source, {
      version: '1.1',
      logLevel: 'error', // a warning quotes the file
      customTags: (tags) => [...tags.filter((tag) => !isOfTime(tag)), newOctal],
    });
    const wrong = document.errors.find(({ code }) => code !== 'MULTIPLE_DOCS');
    if (wrong) throw wrong;
    return document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    if (!(error instanceof YAMLParseError)) throw noText('YAML', 'an alias of what is not there, or too many of them');
    throw noText('YAML', error.code, error.linePos?.[0]);
  }
}
