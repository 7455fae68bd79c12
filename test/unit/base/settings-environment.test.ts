import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { defaults, loadSettings } from '../../../src/base/settings.ts';
import { tracingOf } from '../../../src/base/settings-environment.ts';

const base = 'OTEL_EXPORTER_OTLP_ENDPOINT';
const traces = 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT';
const protocol = 'OTEL_EXPORTER_OTLP_PROTOCOL';

/** What the settings are, beside the defaults, by these variables and an empty file. */
const cases: [env: Record<string, string>, tracing: object, problems?: RegExp][] = [
  [{}, {}],
  [{ [base]: 'http://127.0.0.1:4318' }, { endpoint: 'http://127.0.0.1:4318' }],
  [{ [base]: 'http://h:4318/otlp/' }, { endpoint: 'http://h:4318/otlp/v1/traces' }],
  [{ [base]: 'http://h:1/', [traces]: 'http://h:2/t' }, { endpoint: 'http://h:2/t' }],
  [
    { [base]: 'https://h:4317/x', [protocol]: 'grpc' },
    { endpoint: 'https://h:4317', protocol: 'grpc' },
  ],
  [{ [protocol]: 'http/json' }, {}, /^OTEL_EXPORTER_OTLP_PROTOCOL = "http\/json" must be http\/protobuf or grpc$/],
  [
    { [base]: 'http://u:s3cret@h:1/?x', [protocol]: 'grpc' },
    { protocol: 'grpc' },
    /^(?!.*s3cret).*ENDPOINT = "http:\/\/\*\*\*@h:1\/\.\.\." must/,
  ],
  [{ [base]: 'collector:4317' }, {}, /ENDPOINT = "collector:4317" must be http:\/\/HOST:PORT/],
  [{ [base]: 'http://h:1', OTEL_SDK_DISABLED: 'TRUE' }, {}],
  [{ [base]: 'http://h:1', OTEL_TRACES_EXPORTER: 'none' }, {}],
  [{ OTEL_SERVICE_NAME: 'node-runtime' }, { serviceName: 'node-runtime' }],
  [{ OTEL_TRACES_SAMPLER: 'parentbased_traceidratio', OTEL_TRACES_SAMPLER_ARG: '0.25' }, { sampling: 0.25 }],
  [{ OTEL_TRACES_SAMPLER: 'parentbased_always_off' }, { sampling: 0 }],
  [
    { OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: 'x' },
    {},
    /OTEL_TRACES_SAMPLER = null must be a num/,
  ],
  [{ OTEL_TRACES_SAMPLER: 'xray' }, {}, /must be one of parentbased_always_on, /],
  [{ OTEL_EXPORTER_OTLP_HEADERS: 'key=s3cret' }, {}, /^OTEL_EXPORTER_OTLP_HEADERS is not read/],
];

test('the path of an endpoint is for HTTP, and nothing where a file says grpc', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'berth-env-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const file = join(dir, 'config.toml');
  writeFileSync(file, 'tracing = { protocol = "grpc" }');
  for (const [name, path] of [
    [base, ''],
    [traces, '/v1/traces'],
  ] as const) {
    const { given } = tracingOf({ [name]: `http://h:4317${path}` });
    assert.equal(loadSettings(file, given).tracing.endpoint, 'http://h:4317');
  }
});

for (const [env, tracing, problem] of cases) {
  test(`of ${JSON.stringify(env)}`, (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'berth-env-'));
    t.after(() => rmSync(dir, { recursive: true }));
    const file = join(dir, 'config.toml');
    writeFileSync(file, '');
    const { given, problems } = tracingOf(env);
    assert.deepEqual(loadSettings(file, given).tracing, { ...defaults.tracing, ...tracing });
    assert.match(problems.join(), problem ?? /^$/);
    writeFileSync(file, 'tracing = { endpoint = "", protocol = "grpc", service_name = "mine", sampling = 0.5 }');
    const said = { endpoint: '', protocol: 'grpc', serviceName: 'mine', sampling: 0.5 };
    assert.deepEqual(loadSettings(file, given).tracing, said, 'the file goes before');
  });
}
