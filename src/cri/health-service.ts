import {
  HealthCheckResponse_ServingStatus as Health,
  type HealthCheckRequest,
  type HealthCheckResponse,
} from '../api/grpc/health/v1/health.ts';
import { Fault } from '../base/fault.ts';
import type { Call, Handlers, Streams } from './calls.ts';
import { text } from './check.ts';

/**
 * grpc.health.v1 (grpc/doc/health-checking.md): the server and each service on it serve as soon as they answer, until
 * `ending` aborts. What a pod still needs after a crash is its own matter: calls on it wait.
 */
export function healthCalls(services: readonly string[], ending: AbortSignal): { calls: Handlers; streams: Streams } {
  const statusOf = (service: string): Health => {
    if (service !== '' && !services.includes(service)) return Health.SERVICE_UNKNOWN;
    return ending.aborted ? Health.NOT_SERVING : Health.SERVING;
  };
  const check = ({ service }: HealthCheckRequest): HealthCheckResponse => {
    const status = statusOf(text('service', service));
    if (status !== Health.SERVICE_UNKNOWN) return { status };
    throw new Fault('NotFound', `There is no service ${JSON.stringify(service)} here: ${services.join(', ')}`);
  };
  /** Of all that can change only the end does, so a watcher hears two answers at most. */
  async function* watch({ service }: HealthCheckRequest, { signal }: Call): AsyncGenerator<HealthCheckResponse> {
    const status = statusOf(text('service', service));
    yield { status };
    await aborted(AbortSignal.any([signal, ending]));
    if (status === Health.SERVING && ending.aborted) yield { status: Health.NOT_SERVING };
  }
  return { calls: { check }, streams: { watch } };
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
