/**
 * A directory tree in overlay form. A committed one is a layer of an image (its key is the layer's chain id) and is
 * never written again; an active one is the writable layer of a container (its key is the container's id).
 */
export type Snapshot = {
  readonly key: string;
  readonly kind: 'active' | 'committed';
  /** The key of the committed snapshot below it, or null for a bottom layer. */
  readonly parent: string | null;
};
