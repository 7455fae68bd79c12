import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { parse } from 'smol-toml';
import { defaults, loadSettings, toToml } from '../../../src/base/settings.ts';

describe('settings', () => {
  let dir = '';
  let file = '';
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'berth-settings-'));
    file = join(dir, 'config.toml');
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  test('no file: the defaults', () => assert.deepEqual(loadSettings(file), defaults));

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
    ['an unknown key', 'sockt = "/x"', /sockt is unknown; known here are socket, data_dir/],
    ['an unknown key in a table', '[cni]\nbin_dir = []', /cni\.bin_dir is unknown/],
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

  test('what berth config prints reads back as TOML', () => {
    assert.deepEqual(JSON.parse(JSON.stringify(parse(toToml(defaults)))), defaults);
  });
});
