import { chooseRelease, chosenMinor, minors } from '../../test/kubernetes/release.ts';
import { countOf, oneOf, optionsOf } from '../options.ts';
import { runtimes } from './runtime.ts';

export type Suite = {
  /** The script's file. */
  readonly name: string;
  /** The specs that are run if none are named, as an expression and in words. */
  readonly focus: string;
  readonly focusWords: string;
};

const usageOf = ({ name, focusWords }: Suite): string =>
  `usage: ${name} [--kubernetes MINOR] [--runtime crun|runc|containerd] [--focus REGEX]... [--skip REGEX]... [--processes N]
    [--out FILE]
  --kubernetes ${minors.join(', ')}: the release, of which the newest patch that test/kubernetes pins (default ${minors[0]})
  --runtime    Berth's OCI runtime (default crun); containerd: Debian's in Berth's place, for comparison
  --containerd the folder of another containerd than Debian's
  --focus      only specs whose name matches (default ${focusWords})
  --skip       none of these (default \\[Serial\\] and \\[Slow\\])
  --processes  that run specs at once (default 4)
  --out        writes a line for each spec that ran: passed or failed, and its name`;

/** What one of Kubernetes' suites is asked for on the command line; null if that was only how to ask, which is printed. */
export function askedOf(suite: Suite) {
  const { values } = optionsOf(`node scripts/${suite.name} --help`, {
    options: {
      kubernetes: { type: 'string', default: chosenMinor() },
      runtime: { type: 'string', default: 'crun' },
      containerd: { type: 'string', default: '' },
      focus: { type: 'string', multiple: true, default: [suite.focus] },
      skip: { type: 'string', multiple: true, default: ['\\[Serial\\]', '\\[Slow\\]'] },
      processes: { type: 'string', default: '4' },
      out: { type: 'string', default: '' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(usageOf(suite));
    return null;
  }
  chooseRelease(oneOf('kubernetes', values.kubernetes, minors));
  const { containerd, focus, skip, out } = values;
  const runtime = oneOf('runtime', values.runtime, runtimes);
  return { runtime, containerd, focus, skip, out, processes: countOf('processes', values.processes) };
}

export type Asked = NonNullable<ReturnType<typeof askedOf>>;
