import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { billOfMaterials } from '../../scripts/package-parts/bill.ts';
import { bashCompletion, fishCompletion, zshCompletion } from '../../scripts/package-parts/completions.ts';
import { commandsPage, settingsPage } from '../../scripts/package-parts/manual.ts';
import { ownTarget, targetNamed } from '../../scripts/package-parts/target.ts';
import { configText } from '../../scripts/package-parts/tree.ts';
import { defaults, loadSettings } from '../../src/base/settings.ts';
import { shownTables } from '../../src/base/settings-table.ts';
import { commands } from '../../src/commands/index.ts';
import { nodeEnvironment, nodeFlags } from '../../src/commands/node-flags.ts';

const root = resolve(import.meta.dirname, '../..');
const unit = readFileSync(join(root, 'packaging/berth.service'), 'utf8');
const setting = (key: string) => new RegExp(`^${key}=(.*)$`, 'm').exec(unit)?.[1];

test('the unit starts the daemon as the code says it is to be started', () => {
  const folder = '/usr/local/lib/berth';
  assert.equal(setting('ExecStart'), [`${folder}/node`, ...nodeFlags, `${folder}/main.cjs`, 'serve'].join(' '));
  assert.deepEqual(
    setting('Environment'),
    Object.entries(nodeEnvironment)
      .map((pair) => pair.join('='))
      .join(' '),
  );
  assert.equal(setting('ExecReload'), `${folder}/node ${folder}/main.cjs reload`);
  assert.equal(setting('KillMode'), 'process', 'or systemd ends the pods with the daemon');
  assert.equal(setting('Delegate'), 'yes');
});

const analyze = '/usr/bin/systemd-analyze';
test('systemd takes the unit without a remark', { skip: !existsSync(analyze) && 'no systemd here' }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-unit-'));
  try {
    const file = join(folder, 'berth.service');
    writeFileSync(file, unit.replaceAll('/usr/local/lib/berth/node', '/bin/true')); // it looks whether the program is there
    const { stderr, status } = spawnSync(analyze, ['verify', '--man=no', file], { encoding: 'utf8' });
    const remarks = stderr.split('\n').filter((line) => line.includes('berth.service'));
    assert.deepEqual({ remarks, status }, { remarks: [], status: 0 });
    writeFileSync(join(folder, 'wrong.service'), unit.replace('KillMode=', 'KilMode='));
    const wrong = spawnSync(analyze, ['verify', '--man=no', join(folder, 'wrong.service')], { encoding: 'utf8' });
    assert.match(wrong.stderr, /KilMode/, 'it does look');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('the packaged configuration says nothing, and all of it when its lines are put in force', () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-config-'));
  try {
    const file = join(folder, 'config.toml');
    writeFileSync(file, configText());
    assert.deepEqual(loadSettings(file), defaults);
    assert.match(configText(), /^#soft_open_files = 1024$/m);
    writeFileSync(file, configText().replace('#soft_open_files = 1024', 'soft_open_files = 7'));
    assert.equal(loadSettings(file).softOpenFiles, 7);
    writeFileSync(file, configText().replaceAll(/^#(?=\w+ = )/gm, ''));
    assert.deepEqual(loadSettings(file), defaults);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** As a terminal shows a page, and what the formatter finds wrong with it. */
function rendered(page: string): { text: string; warnings: string } {
  const { stdout, stderr } = spawnSync('/usr/bin/groff', ['-man', '-Tascii', '-ww', '-P-cbou'], {
    input: page,
    encoding: 'utf8',
  });
  return { text: stdout.replaceAll(/\s+/g, ' '), warnings: stderr };
}

test('the manual pages have every command and every setting', { skip: !existsSync('/usr/bin/groff') }, () => {
  const [first, fifth] = [commandsPage(commands, '2026-01-01'), settingsPage('2026-01-01')].map(rendered);
  assert.deepEqual([first!.warnings, fifth!.warnings], ['', '']);
  for (const [name, { does }] of Object.entries(commands)) {
    assert.ok(first!.text.includes(`berth ${name}`), name);
    assert.ok(first!.text.includes(does), does);
  }
  for (const { settings } of shownTables(defaults)) {
    for (const { key } of settings) assert.ok(fifth!.text.includes(`${key} =`), key);
  }
});

test('bash completes commands, and the options of each', () => {
  const complete = (...words: string[]): string[] => {
    const script = `${bashCompletion(commands)}
compopt() { :; }
COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _berth; printf '%s\n' "\${COMPREPLY[@]}"`;
    const { stdout, stderr } = spawnSync('/bin/bash', ['-c', script], { encoding: 'utf8' });
    assert.equal(stderr, '');
    return stdout.trim().split('\n');
  };
  assert.deepEqual(complete('berth', 'pu'), ['pulls']);
  assert.deepEqual(complete('berth', 'gc', '--'), ['--config', '--dry-run', '--help']);
  assert.deepEqual(complete('berth', ''), [...Object.keys(commands), '--help', '--version']);
});

const fish = '/usr/bin/fish';
test('fish completes commands, and the options of each', { skip: !existsSync(fish) && 'no fish here' }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-fish-'));
  try {
    const file = join(folder, 'berth.fish');
    writeFileSync(file, fishCompletion(commands));
    const complete = (line: string): string[] => {
      const script = `source ${file}; complete -C '${line}'`;
      const env = { PATH: '/usr/bin:/bin', HOME: folder, LC_ALL: 'C.UTF-8' };
      const { stdout, stderr } = spawnSync(fish, ['--no-config', '-c', script], { encoding: 'utf8', env });
      assert.equal(stderr, '');
      return stdout
        .trim()
        .split('\n')
        .map((each) => each.split('\t')[0]!);
    };
    assert.deepEqual(complete('berth pu'), ['pulls']);
    assert.deepEqual(complete('berth gc --').toSorted(), ['--config', '--dry-run', '--help']);
    assert.deepEqual(complete('berth ').toSorted(), Object.keys(commands).toSorted());
  } finally {
    rmSync(folder, { recursive: true });
  }
});

const zsh = '/usr/bin/zsh';
/** A shell at a terminal of its own: what stands on the line after a tab is printed between brackets. */
const zshAtTerminal = `
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "fpath=($1 $fpath); PROMPT= RPROMPT=; autoload -Uz compinit; compinit -u -D"
zpty -w z 'show() { print -r -- "<$BUFFER>"; BUFFER=; }; zle -N show; bindkey "^X" show; unsetopt zle_bracketed_paste; print RE""ADY'
zpty -r z out '*READY*'
shift
for line; do
  zpty -w -n z "$line"$'\t\x18'
  zpty -r z out $'*<*>*'
  out=\${out##*<}
  print -r -- "\${out%%>*}"
done
zpty -d z
`;
test('zsh completes commands, and the options of each', { skip: !existsSync(zsh) && 'no zsh here' }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-zsh-'));
  try {
    writeFileSync(join(folder, '_berth'), zshCompletion(commands));
    const lines = ['berth pul', 'berth gc --dr', 'berth trace x --sv'];
    const env = { PATH: '/usr/bin:/bin', HOME: folder, TERM: 'dumb', LC_ALL: 'C.UTF-8' };
    const { stdout, stderr } = spawnSync(zsh, ['-f', '-c', zshAtTerminal, 'zsh', folder, ...lines], {
      encoding: 'utf8',
      env,
      timeout: 60_000,
    });
    assert.equal(stderr, '');
    assert.deepEqual(
      stdout
        .trimEnd()
        .split('\n')
        .map((line) => line.trim()),
      ['berth pulls', 'berth gc --dry-run', 'berth trace x --svg'],
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('the bill of materials has what runs on a node, with its hash, and no more', () => {
  const { components } = JSON.parse(billOfMaterials(root, '1.2.3', 0, ownTarget)) as {
    components: { name: string; purl: string; hashes: { content: string }[] }[];
  };
  const names = components.map(({ name }) => name);
  const { dependencies, devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  for (const name of [...Object.keys(dependencies), `node-linux-${process.arch}`])
    assert.ok(names.includes(name), name);
  for (const name of Object.keys(devDependencies))
    assert.ok(name.startsWith('@types/') || !names.includes(name), `${name} is for makers alone`);
  assert.match(components.find(({ name }) => name === '@grpc/grpc-js')!.purl, /^pkg:npm\/%40grpc\/grpc-js@\d/);
  for (const { hashes } of components) assert.match(hashes[0]!.content, /^[0-9a-f]{128}$/);
});

test('the bill of materials of another architecture has its Node, and no other', () => {
  for (const arch of ['x64', 'arm64']) {
    const { components } = JSON.parse(billOfMaterials(root, '1.2.3', 0, { ...ownTarget, arch }));
    const nodes = (components as { name: string }[]).map(({ name }) => name).filter((name) => /^node-linux/.test(name));
    assert.deepEqual(nodes, [`node-linux-${arch}`]);
  }
  assert.equal(targetNamed(ownTarget.architecture), ownTarget);
  assert.equal(targetNamed('riscv64'), null);
});
