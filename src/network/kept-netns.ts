import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bindMount, isMountPoint, unmount } from '../sys/mounts.ts';
import { type CachedAttachment, fileNameOf } from './result-cache.ts';

/**
 * Network namespaces that outlive their pods, for attachments that could not be undone yet: plugins look into the namespace
 * for what they have to undo on the host (the bridge plugin for the rules of ipMasq).
 */
export class KeptNetns {
  readonly #folder: string;

  /** The folder exists. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Where DEL finds the attachment's namespace; empty if it is gone (CNI spec, section 2: DEL works all the same). */
  static pathOf({ netns }: CachedAttachment): string {
    try {
      return netns !== '' && isMountPoint(netns) ? netns : '';
    } catch {
      return ''; // others write to the cache too: what cannot be a path
    }
  }

  /** The attachment with its namespace at a place of its own. @throws Error with an errno code */
  keep(entry: CachedAttachment): CachedAttachment {
    const place = this.#placeOf(entry);
    if (entry.netns === place || KeptNetns.pathOf(entry) === '') return entry;
    writeFileSync(place, '');
    bindMount(entry.netns, place);
    return { ...entry, netns: place };
  }

  /** Lets the namespace go; idempotent. */
  release(entry: CachedAttachment): void {
    const place = this.#placeOf(entry);
    if (isMountPoint(place)) unmount(place, { detach: true });
    rmSync(place, { force: true });
  }

  #placeOf(entry: CachedAttachment): string {
    return join(this.#folder, fileNameOf(entry));
  }
}
