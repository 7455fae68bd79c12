import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { defaults, loadSettings } from '../../../src/base/settings.ts';
import { shownTables } from '../../../src/base/settings-table.ts';
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
    const settings = loadSettings(file);
    assert.deepEqual([settings.runDir, settings.cni.maxNetworks, settings.timeouts.cniPlugin], ['/run/c', 2, 5]);
    assert.equal(settings.cni.confDir, defaults.cni.confDir);
    assert.deepEqual(Object.keys(settings.handlers), ['crun', 'runc', 'gvisor']);
    assert.deepEqual(defaults.timeouts.cniPlugin, 90, 'the defaults stay as they are');
  });

  const cases: [name: string, toml: string, message: RegExp][] = [
    ['broken TOML', 'socket = ', /Cannot read configuration .*config\.toml/],
    ['an unknown key', 'sockt = "/x"', /sockt is unknown: did you mean socket\? \(known here: socket, data_dir/],
    ['an unknown key in a table', '[cni]\nbin_dir = []', /cni\.bin_dir is unknown: did you mean bin_dirs\?/],
    ['swapped letters', '[timeouts]\nhots_path = 1', /timeouts\.hots_path is unknown: did you mean host_path\?/],
    ['a key that is like none', 'kubernetes = 1', /kubernetes is unknown \(known here/],
    ['a wrong type', 'socket = 5', /socket is number, it must be string/],
    ['a table for a value', '[socket]\na = 1', /socket is table, it must be string/],
    ['a relative path', 'data_dir = "data"', /data_dir = "data" must be an absolute path/],
    ['a long run directory', `run_dir = "/${'x'.repeat(60)}"`, /longer than 40/],
    ['a cgroup driver that is none', 'cgroup_driver = "v3"', /must be cgroupfs or systemd/],
    ['a default handler that is not there', 'default_handler = "kata"', /"kata" is not in \[handlers\]/],
    ['a relative OCI runtime', '[handlers.x]\npath = "runc"', /handlers\.x\.path = "runc" must be an absolute path/],
    ['a handler that is a path', '[handlers."../x"]\npath = "/x"', /handlers\."\.\.\/x" is not a handler's name/],
    ['__proto__', '[__proto__]\nsocket = "/x"', /unknown/],
  ];
  for (const [name, toml, message] of cases) {
    test(`${name} is refused by name`, () => {
      writeFileSync(file, toml);
      assert.throws(() => loadSettings(file), message);
    });
  }

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
    assert.ok(all.length >= 38, `${all.length} settings`);
    const words = (text: string) => text.replaceAll(/[#\s]+/g, ' '); // however the lines are broken
    const printed = words(toToml(defaults));
    for (const { key, text } of all) {
      assert.match(text, /^[A-Za-z].*\.$/, key);
      assert.ok(printed.includes(`${text} ${key} =`), key);
    }
  });
});
