import { settingsTable } from './settings-table.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** Settings as a file would have them, and what of the variables means nothing here, for the log. */
export type FromEnvironment = {
  readonly given: { readonly tracing?: Readonly<Record<string, unknown>> };
  readonly problems: readonly string[];
};

const samplers: Readonly<Record<string, (part: string) => unknown>> = {
  always_on: () => 1,
  always_off: () => 0,
  traceidratio: (part) => (part === '' ? 1 : Number(part)),
};

/**
 * What OpenTelemetry's variables say of [tracing] (OpenTelemetry, "Environment Variable Specification"), as operators have them
 * in the unit of containerd. What cannot be a setting is a problem and no more: variables are for many programs.
 */
export function tracingOf(env: Environment): FromEnvironment {
  const value = (...names: string[]) => {
    const name = names.find((each) => (env[each] ?? '') !== '');
    return name === undefined ? null : { name, value: env[name]!.trim() };
  };
  if (value('OTEL_SDK_DISABLED')?.value.toLowerCase() === 'true' || value('OTEL_TRACES_EXPORTER')?.value === 'none')
    return { given: {}, problems: [] };
  const { members } = settingsTable.members.tracing;
  const given: Record<string, unknown> = {};
  const problems: string[] = [];
  const take = (key: keyof typeof members, found: { name: string; value: unknown } | null) => {
    if (!found) return;
    const { kind } = members[key];
    if (kind.takes(found.value)) given[key] = found.value;
    else problems.push(`${found.name} = ${JSON.stringify(shown(kind.quoted, found.value))} must be ${kind.what}`);
  };
  const protocol = value('OTEL_EXPORTER_OTLP_TRACES_PROTOCOL', 'OTEL_EXPORTER_OTLP_PROTOCOL');
  const base = value('OTEL_EXPORTER_OTLP_ENDPOINT');
  const endpoint = value('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT') ?? (base && { ...base, value: withPath(base.value) });
  const isGrpc = protocol?.value === 'grpc' && endpoint && members.endpoint.kind.takes(endpoint.value);
  take('endpoint', isGrpc ? { ...endpoint, value: new URL(endpoint.value).origin } : endpoint);
  take('protocol', protocol);
  take('serviceName', value('OTEL_SERVICE_NAME'));
  const sampler = value('OTEL_TRACES_SAMPLER');
  const sample = sampler && samplers[sampler.value.replace(/^parentbased_/, '')];
  if (sample) take('sampling', { ...sampler, value: sample(value('OTEL_TRACES_SAMPLER_ARG')?.value ?? '') });
  else if (sampler)
    problems.push(`OTEL_TRACES_SAMPLER = ${JSON.stringify(sampler.value)} must be one of ${known.join(', ')}`);
  for (const name of unread)
    if (value(name)) problems.push(`${name} is not read: a collector on the node adds what leads elsewhere`);
  const { serviceName: service_name, ...rest } = given;
  const tracing = { ...rest, ...(service_name === undefined ? {} : { service_name }) };
  return { given: Object.keys(tracing).length > 0 ? { tracing } : {}, problems };
}

const known = Object.keys(samplers).map((name) => `parentbased_${name}`);
const unread = ['OTEL_EXPORTER_OTLP_TRACES_HEADERS', 'OTEL_EXPORTER_OTLP_HEADERS', 'OTEL_RESOURCE_ATTRIBUTES'];

const shown = (quoted: ((value: unknown) => unknown) | undefined, value: unknown): unknown => quoted?.(value) ?? value;

/** The general endpoint is what each signal's path is put to. One without a path means just that here, too. */
const withPath = (url: string): string =>
  !/^https?:/i.test(url) || (URL.parse(url)?.pathname ?? '/') === '/' ? url : `${url.replace(/\/+$/, '')}/v1/traces`;
