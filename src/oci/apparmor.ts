import { failedPrecondition } from '../base/fault.ts';
import type { HostFacts } from '../base/host-facts.ts';
import type { ContainerSecurity } from '../model/config.ts';
import { defaultProfile } from './apparmor-default.ts';

/**
 * The AppArmor profile to run under, or empty for none. Unset means the default where AppArmor is on, as for the peers;
 * privileged means none. FailedPrecondition if a profile is asked for by name and the host has no AppArmor.
 */
export function resolveApparmor(security: ContainerSecurity, host: HostFacts): string {
  const choice = security.apparmor ?? { type: 'runtimeDefault' };
  if (choice.type === 'localhost' && !host.apparmor) {
    throw failedPrecondition(`AppArmor profile ${JSON.stringify(choice.ref)}: AppArmor is off on this host`);
  }
  if (!host.apparmor || security.privileged) return '';
  if (choice.type === 'localhost') return choice.ref.replace(/^localhost\//, ''); // the deprecated field's form
  return choice.type === 'unconfined' ? 'unconfined' : defaultProfile;
}
