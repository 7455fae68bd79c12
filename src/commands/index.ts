import { configurationPaths, loadSettings, type Settings } from '../base/settings.ts';
import { toToml } from '../base/settings-toml.ts';
import { berthVersion } from '../cri/runtime-service.ts';
import { askDaemon, atOnce } from './ask.ts';
import type { Commands, Given } from './command-line.ts';
import { showHealth } from './doctor.ts';
import { explainReference } from './explain.ts';
import { collectGarbage } from './gc.ts';
import { hostFiles } from './host-files.ts';
import { socketInForce } from './in-force.ts';
import { loadImages } from './load.ts';
import { showPulls } from './pulls.ts';
import { mustAnswer } from './reach.ts';
import { reloadDaemon } from './reload.ts';
import { saveImageTo } from './save.ts';
import { serveForEver } from './serve.ts';
import { writeSupportArchive } from './support.ts';
import { tell } from './tell.ts';
import { tracePod } from './trace.ts';

const text = (value: string | boolean | undefined) => (typeof value === 'string' ? value : undefined);
/** One of the words of a command, which readCommandLine has counted. */
const word = ({ words }: Given, index: number): string => words[index]!;

/** No file system that hangs, hangs a command. @throws Fault InvalidArgument, DeadlineExceeded */
async function settingsOf({ flags }: Given, ms?: number, below?: object): Promise<Settings> {
  const named = text(flags.config);
  await mustAnswer(configurationPaths(named), ms);
  return loadSettings(named, { ...below });
}

/** Where the daemon is asked; `files`: what else the command opens, or has the daemon open. */
async function socketOf(given: Given, ...files: readonly (string | undefined)[]): Promise<string> {
  const settings = await settingsOf(given);
  await mustAnswer(files.filter((file) => file !== undefined && file !== '-') as string[]);
  return socketInForce(settings);
}

async function configurationOf(given: Given): Promise<string> {
  if (given.flags.running !== true) return toToml(await settingsOf(given));
  return (await askDaemon(await socketOf(given), (daemon) => daemon.configuration({}, atOnce()))).toml;
}

/** What `berth` can do, in the order of its help. */
export const commands: Commands = {
  serve: {
    does: 'run the daemon',
    takes: [],
    flags: ['config'],
    more: 'It logs to standard error, a JSON document a line; BERTH_LOG=debug in the environment: more of it. SIGTERM ends it,\ncontainers go on.',
    run: (given) => serveForEver((ms, below) => settingsOf(given, ms, below)),
  },
  load: {
    does: 'make the images of an OCI layout or docker-archive file available',
    takes: ['FILE'],
    flags: ['config'],
    more: 'FILE may be - or a pipe. Exit code 1: an image that is for this host was not loaded, and is named; the others are there.',
    run: async (given) => loadImages(await socketOf(given, word(given, 0)), word(given, 0)),
  },
  save: {
    does: 'write an image to a file: an OCI layout in a tar, which docker load reads too',
    takes: ['IMAGE', 'FILE'],
    flags: ['config'],
    more: 'FILE must not exist yet. It prints the id that the image has when it is loaded again: its own, if its layers can be packed as they came.',
    run: async (given) => saveImageTo(await socketOf(given, word(given, 1)), word(given, 0), word(given, 1)),
  },
  pulls: {
    does: 'pulls under way: phase, bytes, rate',
    takes: [],
    flags: ['config'],
    run: async (given) => showPulls(await socketOf(given)),
  },
  explain: {
    does: 'the hosts that a pull of REF would ask, in order, and what each is shown',
    takes: ['REF'],
    flags: ['config'],
    more: 'None of them is asked.',
    run: async (given) =>
      explainReference({ ...(await settingsOf(given)).images, hostFiles: () => hostFiles() }, word(given, 0)),
  },
  doctor: {
    does: 'whether this host is fit for Berth, and Berth on it is well',
    takes: [],
    flags: ['config', 'json', 'registry'],
    more: 'It changes nothing and, without --registry, asks nobody outside of this host. Exit code 0: all is well; 1: warnings; 2: pods cannot run, or what\nthere is could not be looked at.',
    run: (given) =>
      showHealth(() => settingsOf(given), { json: given.flags.json === true, registry: text(given.flags.registry) }),
  },
  bundle: {
    does: 'write what a stranger needs to understand this node',
    takes: ['FILE'],
    flags: ['config'],
    more: 'FILE is a tar, compressed by gzip, and must not exist yet. Of what users wrote (environments, arguments, annotations, values of labels) nothing is in it.',
    run: async (given) => {
      const settings = await settingsOf(given);
      await mustAnswer([word(given, 0)]);
      await writeSupportArchive(settings, word(given, 0));
    },
  },
  trace: {
    does: "where a pod's calls or an image's pulls spent their time",
    takes: ['WHAT'],
    flags: ['config', 'svg'],
    more: 'WHAT: the id of a pod or the beginning of one, or the name of an image as it is pulled. Calls are kept from the start of the daemon on.',
    run: async (given) => tracePod(await socketOf(given, text(given.flags.svg)), word(given, 0), text(given.flags.svg)),
  },
  reload: {
    does: 'have the daemon read its configuration anew',
    takes: [],
    flags: ['config'],
    more: 'So does SIGHUP. Which settings that puts in force is in docs/operating.md. A wrong file changes nothing.',
    run: async (given) => reloadDaemon(await socketOf(given)),
  },
  gc: {
    does: 'remove layers that nothing needs',
    takes: [],
    flags: ['config', 'dry-run'],
    run: async (given) => collectGarbage(await socketOf(given), given.flags['dry-run'] === true),
  },
  config: {
    does: 'print the configuration, each setting with what it means',
    takes: [],
    flags: ['config', 'running'],
    more: 'What it prints is a configuration file: berth config > config.toml. It reads the files: a daemon that runs has them from its\nstart, or a reload, on; --running asks that daemon what it has.',
    run: async (given) => tell(await configurationOf(given)),
  },
  version: {
    does: 'print the version',
    takes: [],
    flags: [],
    run: () => tell(`berth ${berthVersion}\n`),
  },
};
