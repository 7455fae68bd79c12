import { messageOf } from '../base/fault.ts';
import { log, setLogLevel } from '../base/log.ts';
import type { Settings } from '../base/settings.ts';
import { type Adopted, adopt } from '../base/settings-reload.ts';
import { tellSupervisor } from '../sys/supervisor.ts';
import { askDaemon, atOnce } from './ask.ts';
import { tell } from './tell.ts';

/** Reads the configuration anew, for SIGHUP and `berth reload`. */
export type Reload = () => Promise<Adopted>;

/**
 * What reloads: `load` reads the configuration. One that is wrong changes nothing. `changed`: for what is not looked up at
 * each use.
 * @throws as `load` does.
 */
export function reloading(settings: Settings, load: () => Promise<Settings>, changed: () => void = () => {}): Reload {
  return async () => {
    tellSupervisor(`RELOADING=1\nMONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`); // Type=notify-reload, systemd.service(5)
    try {
      const fresh = await load();
      const adopted = adopt(settings, fresh);
      setLogLevel(settings.logLevel);
      changed();
      log.info(adopted, 'The configuration was read anew');
      return adopted;
    } finally {
      tellSupervisor('READY=1');
    }
  };
}

/** SIGHUP has nobody who waits for an answer: the log has it. */
export function reloadOnSignal(reload: Reload): void {
  process.on('SIGHUP', async () => {
    try {
      log.info({ signal: 'SIGHUP' }, 'Told to read the configuration anew');
      await reload();
    } catch (error) {
      log.error({ reason: messageOf(error) }, 'The configuration is wrong: all stays as it was');
    }
  });
}

/** `berth reload`: waits until the daemon has read its configuration anew, and tells what that changed. */
export async function reloadDaemon(socket: string): Promise<void> {
  const { inForce, atNextStart } = await askDaemon(socket, (daemon) => daemon.reload({}, atOnce()));
  const lines = [
    ...(inForce.length > 0 ? [`In force: ${inForce.join(', ')}`] : []),
    ...(atNextStart.length > 0 ? [`From the next start on: ${atNextStart.join(', ')}`] : []),
  ];
  tell(`${lines.join('\n') || 'Nothing is different'}\n`);
}
