// The conventions of Prometheus, by promtool: the scrape, the rules for alerts, and the dashboard, which ask for nothing that
// is not there.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { stringify } from 'yaml';
import { TestDaemon } from '../harness/daemon.ts';
import { ownHost } from '../harness/own-host.ts';
import { program } from '../images/run.ts';

await ownHost();

const root = resolve(import.meta.dirname, '../..');
const alerts = join(root, 'packaging/prometheus/alerts.yaml');
const address = '127.0.0.1:9102';
let daemon: TestDaemon;
/** Of a daemon that has just been started: no pod, one call. */
let scrape = '';
before(async () => {
  daemon = new TestDaemon({ network: false, settings: { metrics: { address } } });
  await daemon.start();
  await assert.rejects(daemon.images.pullImage({ image: { image: 'localhost:1/none' } })); // a call with steps
  scrape = await (await fetch(`http://${address}/metrics`)).text();
});
after(() => daemon.dispose());

function promtool(args: readonly string[], input = ''): string {
  const { status, stdout, stderr } = spawnSync(program('promtool', 'prometheus'), args, { input, encoding: 'utf8' });
  assert.equal(status, 0, `promtool ${args.join(' ')}: ${stdout}${stderr}`);
  return `${stdout}${stderr}`;
}

/** What queries may name, labels and their values included: what is never scraped is a panel for ever empty. */
function checkNames(query: string): void {
  const names = [...query.matchAll(/\b(?:berth|process|nodejs)_[a-z_]+/g)].map(([name]) => name);
  assert.ok(names.length > 0, query);
  for (const name of names)
    assert.ok(
      scrape.split('\n').some((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `)),
      `${name}, of ${query}, is in no scrape`,
    );
  const labels = [...query.matchAll(/[{,(]\s*(\w+)\s*(?:[=!]~?"|(?=,|\)\s*\())/g)].map(([, label = '']) => label);
  for (const label of labels.filter((each) => !['instance', 'job'].includes(each)))
    assert.ok(scrape.includes(`${label}="`), `the label ${label}, of ${query}`);
}

test('promtool has nothing to say of a scrape', () => {
  assert.equal(promtool(['check', 'metrics'], scrape), '');
});

test('what alerts may be about is there before it happens for the first time, as rate() does not see it otherwise', () => {
  for (const code of ['INTERNAL', 'DEADLINE_EXCEEDED', 'DATA_LOSS', 'RESOURCE_EXHAUSTED'])
    assert.match(scrape, new RegExp(`^berth_calls_total\\{method="RunPodSandbox",code="${code}"\\} 0$`, 'm'));
  assert.match(scrape, /^berth_container_exits_total\{reason="OOMKilled"\} 0$/m);
  assert.match(scrape, /^berth_streams_total\{kind="attach"\} 0$/m);
  assert.doesNotMatch(scrape, /method="CheckpointContainer"/, 'it is not served');
});

test('the alerts are rules, do what they say, and name what is there', () => {
  promtool(['check', 'rules', alerts]);
  promtool(['test', 'rules', join(root, 'test/prometheus/alerts.test.yaml')]);
  const queries = [...readFileSync(alerts, 'utf8').matchAll(/expr: (?:>-\s*)?(.*)/g)].map(([, query = '']) => query);
  assert.ok(queries.length > 4);
  for (const query of queries) checkNames(query);
});

test('every query of the dashboard is one, and names what is there', () => {
  const { panels } = JSON.parse(readFileSync(join(root, 'packaging/prometheus/grafana.json'), 'utf8')) as {
    panels: { title: string; targets: { expr: string }[] }[];
  };
  const queries = panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
  assert.ok(queries.length >= panels.length);
  for (const query of queries) checkNames(query);
  const rules = queries.map((query, at) => ({
    record: `query_${at}`,
    expr: query.replaceAll('$__rate_interval', '5m').replaceAll('$instance', '.*'),
  }));
  const folder = mkdtempSync(join(tmpdir(), 'berth-rules-'));
  try {
    writeFileSync(join(folder, 'rules.yaml'), stringify({ groups: [{ name: 'dashboard', rules }] }));
    promtool(['check', 'rules', join(folder, 'rules.yaml')]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
