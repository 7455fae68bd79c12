import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { defaults, loadSettings } from '../../../src/base/settings.ts';
import { adopt } from '../../../src/base/settings-reload.ts';
import { type Members, Setting, settingsTable, shownTables, snake, Table } from '../../../src/base/settings-table.ts';
import { toToml } from '../../../src/base/settings-toml.ts';

describe('settings', () => {
  let dir = '';
  let file = '';
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'berth-settings-'));
    file = join(dir, 'config.toml');
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  test('an empty file: the defaults', () => {
    writeFileSync(file, '');
    assert.deepEqual(loadSettings(file), defaults);
  });

  test('a file that was named and does not exist is an error, whatever its drop-ins', () => {
    mkdirSync(`${file}.d`);
    writeFileSync(join(`${file}.d`, '10.toml'), 'run_dir = "/run/b"');
    assert.throws(() => loadSettings(file), /There is no configuration .*config\.toml: make it, or leave --config out/);
  });

  test('a file and its drop-ins, in name order, over the defaults', () => {
    writeFileSync(file, 'run_dir = "/run/a"\n[cni]\nmax_networks = 2\n[handlers.gvisor]\npath = "/usr/bin/runsc"\n');
    mkdirSync(`${file}.d`);
    writeFileSync(join(`${file}.d`, '20.toml'), 'run_dir = "/run/c"');
    writeFileSync(join(`${file}.d`, '10.toml'), 'run_dir = "/run/b"\n[timeouts]\ncni_plugin = 5');
    writeFileSync(join(`${file}.d`, 'note.txt'), 'not = [toml');
    writeFileSync(join(`${file}.d`, '.10.toml'), 'not = [toml');
    symlinkSync('user@host.1234', join(`${file}.d`, '.#10.toml')); // Emacs' lock on a file that is being edited
    const settings = loadSettings(file);
    assert.deepEqual([settings.runDir, settings.cni.maxNetworks, settings.timeouts.cniPlugin], ['/run/c', 2, 5]);
    assert.equal(settings.cni.confDir, defaults.cni.confDir);
    assert.deepEqual(Object.keys(settings.handlers), ['crun', 'runc', 'gvisor']);
    assert.deepEqual(defaults.timeouts.cniPlugin, 90, 'the defaults stay as they are');
  });

  const cases: [name: string, toml: string, message: RegExp][] = [
    ['broken TOML', 'socket = ', /Cannot read configuration .*config\.toml/],
    ['broken TOML beside a secret', 'containers.env = ["A=s3cret"', /it is no TOML: .*, at line 1, column/],
    ['a variable that is no list', 'containers.env = "A=s3cret"', /containers\.env = "A=\.\.\." must be a list/],
    [
      'a variable without a name for its value',
      'containers.env = ["s3cret"]',
      /containers\.env = \["=\.\.\."\] must be/,
    ],
    ['variables as tables', 'containers.env = [{ name = "A", value = "s3cret" }]', /\["\.\.\."\] must be a list/],
    ['a query in an endpoint', 'tracing.endpoint = "https://h/?token=s3cret"', /"https:\/\/h\/\.\.\." must be/],
    ['an unknown key', 'sockt = "/x"', /sockt is unknown: did you mean socket\? \(known here: socket, data_dir/],
    ['an unknown key in a table', '[cni]\nbin_dir = []', /cni\.bin_dir is unknown: did you mean bin_dirs\?/],
    ['swapped letters', '[timeouts]\nhots_path = 1', /timeouts\.hots_path is unknown: did you mean host_path\?/],
    ['a key that is like none', 'kubernetes = 1', /kubernetes is unknown \(known here/],
    [
      "containerd's configuration",
      'version = 3\n[plugins]',
      /config\.toml: version is a setting of containerd: Berth has its own/,
    ],
    ["CRI-O's configuration", '[crio.runtime]\nlog_level = "info"', /crio is a setting of CRI-O/],
    ['a wrong type', 'socket = 5', /config\.toml: socket = 5 must be an absolute path/],
    ['a table for a value', '[socket]\na = 1', /socket = a table must be an absolute path/],
    ['a value for a table', 'cni = [5]', /cni = \[5\] must be a table: \[cni\]/],
    ['a relative path', 'data_dir = "data"', /data_dir = "data" must be an absolute path/],
    ['a limit twice', 'containers.ulimits = ["nofile=1:2", "nofile=3:4"]', /nofile=3:4"\] must be .*; no NAME twice/],
    [
      'a variable twice, whose value is not quoted',
      'containers.env = ["A=1", "A=2"]',
      /containers\.env = \["A=\.\.\.","A=\.\.\."\] must be .* no NAME twice/,
    ],
    ['a control of 8 bits', 'data_dir = "/var/\\u009b31m"', /data_dir = .* must be an absolute path/],
    [
      'a long run directory',
      `run_dir = "/${'x'.repeat(60)}"`,
      /must be an absolute path without \.\., not longer than 40 characters/,
    ],
    ['a cgroup driver that is none', 'cgroup_driver = "v3"', /must be cgroupfs or systemd/],
    ['a default handler that is not there', 'default_handler = "kata"', /"kata" is not in \[handlers\]/],
    ['a relative OCI runtime', '[handlers.x]\npath = "runc"', /handlers\.x\.path = "runc" must be an absolute path/],
    ['a handler that is a path', '[handlers."../x"]\npath = "/x"', /handlers\."\.\.\/x" is not a name: letters/],
    ['a handler without a program', '[handlers.kata]\nargs = []', /handlers\.kata has no path/],
    ["a socket longer than a socket's name", `socket = "/${'x'.repeat(107)}"`, /not longer than the 107 bytes/],
    ['a login in an endpoint', 'tracing.endpoint = "http://u:s3cret@127.0.0.1:1"', /must be http:\/\/HOST:PORT/],
    ['another scheme', 'tracing.endpoint = "ftp://127.0.0.1"', /must be http:\/\/HOST:PORT/],
    ['an address for an endpoint', 'tracing.endpoint = "127.0.0.1:4317"', /must be http:\/\/HOST:PORT/],
    ['more than all', 'tracing.sampling = 1.01', /must be a number from 0 to 1/],
    [
      'a path over grpc',
      'tracing = { endpoint = "http://127.0.0.1:1/v1/traces", protocol = "grpc" }',
      /has a path, which grpc has none for/,
    ],
    ['a host for an address', 'streaming.address = "localhost:1"', /must be an IP address and a port: 127\.0\.0\.1:0/],
    ['a port that is none', 'streaming.address = "127.0.0.1:65536"', /must be an IP address and a port/],
    ['brackets about IPv4', 'streaming.address = "[127.0.0.1]:0"', /must be an IP address and a port/],
    ['more layers than an overlay has', 'images.limits.max_layers = 501', /a whole number from 1 to 500/],
    [
      'a colon in what a variable lists',
      'cni.bin_dirs = ["/a:/b"]',
      /each is an absolute path without \.\. or a colon/,
    ],
    ['a limit that none has', 'containers.ulimits = ["nofiles=1:2"]', /NAME of as, core, cpu/],
    ['a soft limit above the hard one', 'containers.ulimits = ["nofile=3:2"]', /ulimits = .* must be/],
    ['a soft limit above the hard one in words', 'containers.ulimits = ["core=unlimited:2"]', /ulimits = .* must be/],
    ['open files without a number', 'containers.ulimits = ["nofile=unlimited"]', /nofile has a number always/],
    ['a sysctl of the host', 'pods.sysctls = ["vm.swappiness=1"]', /a sysctl of the network, IPC or UTS namespace/],
    ['a capability that none has', 'containers.capabilities = ["CAP_KILL"]', /a capability such as NET_RAW/],
    ['a variable without a name', 'containers.env = ["=x"]', /each is NAME=value/],
    ['a prefix with a colon', 'systemd_scope_prefix = "a:b"', /must be letters, digits/],
    ['no place for plugins', 'cni.bin_dirs = []', /a list, not empty/],
    ['the hour of an end', 'timeouts.cni_plugin = 86401', /timeouts\.cni_plugin = 86401 must be seconds/],
    ['__proto__', '[__proto__]\nsocket = "/x"', /unknown/],
  ];
  for (const [name, toml, message] of cases) {
    test(`${name} is refused by name`, () => {
      writeFileSync(file, toml);
      assert.throws(() => loadSettings(file), { message: new RegExp(`^(?!.*s3cret).*${message.source}`, 's') });
    });
  }

  test('what is no file of text is refused at once, and so is a link to nothing, with what it is', () => {
    const refused = (why: RegExp) => assert.throws(() => loadSettings(file), why);
    const named = (why: string) => new RegExp(`^Fault: Cannot read configuration ${file}: ${why}`);
    execFileSync('/usr/bin/mkfifo', [file]);
    refused(named('it is no regular file'));
    rmSync(file);
    symlinkSync('/dev/zero', file);
    refused(named('it is no regular file'));
    rmSync(file);
    symlinkSync('gone.toml', file);
    refused(named('it is a link to what is not there'));
    rmSync(file);
    mkdirSync(file);
    refused(named('it is no regular file'));
    rmSync(file, { recursive: true });
    writeFileSync(file, 'socket = "/run/\xff.sock"', 'latin1');
    refused(named('it is not UTF-8'));
    writeFileSync(file, '');
    truncateSync(file, 2 << 20);
    refused(named('it has 2097152 bytes, and may have 1048576'));
  });

  test('a drop-in is held to the same, and so is the folder of drop-ins', () => {
    writeFileSync(file, '');
    writeFileSync(`${file}.d`, '');
    assert.throws(() => loadSettings(file), new RegExp(`Cannot read the folder .*${file}\\.d`));
    rmSync(`${file}.d`);
    mkdirSync(`${file}.d`);
    execFileSync('/usr/bin/mkfifo', [join(`${file}.d`, '10.toml')]);
    assert.throws(() => loadSettings(file), /config\.toml\.d\/10\.toml: it is no regular file/);
    rmSync(join(`${file}.d`, '10.toml'));
    symlinkSync('/nowhere', join(`${file}.d`, '20.toml'));
    assert.throws(() => loadSettings(file), /config\.toml\.d\/20\.toml: it is a link to what is not there/);
  });

  test('a handler may be called as what every object has', () => {
    writeFileSync(file, '[handlers.constructor]\npath = "/x"\n[handlers.valueOf]\npath = "/y"\n');
    const settings = loadSettings(file);
    const printed = toToml(settings);
    writeFileSync(file, printed);
    assert.deepEqual(loadSettings(file), settings);
    const running = structuredClone(defaults);
    assert.deepEqual(adopt(running, settings), {
      inForce: [],
      atNextStart: ['handlers'],
    });
  });

  test('what is at the edge of a range is taken', () => {
    const edges = `socket = "/${'x'.repeat(106)}"\nrun_dir = "/${'x'.repeat(39)}"\nstreaming.address = "[::1]:65535"
      timeouts.oci_runtime = 86400\ntimeouts.exec_drain = 0.5\nimages.limits.max_layers = 1\nsoft_open_files = 0
      [handlers.constructor]\npath = "/x"`;
    writeFileSync(file, edges);
    const { timeouts, handlers } = loadSettings(file);
    assert.equal(timeouts.execDrain, 0.5);
    const { args, path } = Object.entries(handlers).find(([name]) => name === 'constructor')![1];
    assert.deepEqual([path, args], ['/x', []]);
  });

  /** What no setting whose default is such a value may be. */
  const junk: Record<string, string[]> = {
    string: ['5', 'true', '{ a = 1 }', '["/a"]', '2026-01-01', '"/a\\nb"', '"/a\\u0000"', `"/${'x'.repeat(4096)}"`],
    number: ['"5"', 'true', '{ a = 1 }', '[5]', '-1', 'nan', 'inf', '-inf', '9007199254740991.5e3', '1e300'],
    boolean: ['5', '"true"', '{ a = 1 }', '[true]', '0'],
    list: ['5', '"/a"', 'true', '{ a = 1 }', '[5]', '[true]', '[["/a"]]', '[{ a = 1 }]', '["/a\\u0000"]', '["/a", 5]'],
  };
  const kindOf = (value: unknown) => (Array.isArray(value) ? 'list' : typeof value);
  function* everySetting(table: Table<Members>, under = ''): Generator<[key: string, each: Setting<unknown>]> {
    const open = table.open ? { 'x-1': new Table('', table.open) } : {};
    for (const [name, each] of Object.entries({ ...table.members, ...open })) {
      const key = `${under}${snake(name)}`;
      if (each instanceof Setting) yield [key, each];
      else yield* everySetting(each, `${key}.`);
    }
  }
  test('every setting takes its default, and nothing of a wrong kind or out of its range', () => {
    const all = [...everySetting(settingsTable)];
    assert.ok(all.length >= 41, `${all.length} settings`);
    for (const [key, { kind, value }] of all) {
      if (key !== 'handlers.x-1.path') assert.ok(kind.takes(value), `${key} takes its default`);
      for (const wrong of junk[kindOf(value)]!) {
        writeFileSync(file, `${key} = ${wrong}`);
        const says = (error: Error) => error.message.startsWith(`Configuration ${file}: ${key} = `);
        assert.throws(() => loadSettings(file), says, `${key} = ${wrong}`);
      }
    }
  });

  test('what berth config prints is a configuration that gives the same settings again', () => {
    const own = '[handlers."a.b"]\npath = "/usr/bin/x"\nargs = ["--a b"]\n[images]\npinned = ["a", "b"]\n';
    writeFileSync(file, `soft_open_files = 0\n${own}`);
    const settings = loadSettings(file);
    assert.equal(settings.handlers['a.b']?.path, '/usr/bin/x');
    writeFileSync(file, toToml(settings));
    assert.deepEqual(loadSettings(file), settings);
    writeFileSync(file, toToml(defaults));
    assert.deepEqual(loadSettings(file), defaults);
  });

  test('every setting is described, each in a sentence, and printed with it', () => {
    const all = [...shownTables(defaults)].flatMap(({ settings }) => settings);
    assert.ok(all.length >= 37, `${all.length} settings`);
    const words = (text: string) => text.replaceAll(/[#\s]+/g, ' '); // however the lines are broken
    const printed = words(toToml(defaults));
    for (const { key, text } of all) {
      assert.match(text, /^[A-Za-z].*\.$/, key);
      assert.ok(printed.includes(`${text} ${key} =`), key);
    }
  });
});
