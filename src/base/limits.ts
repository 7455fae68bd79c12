/** Layers that an overlay takes (OVL_MAX_STACK of the kernel): of an image, and of what a snapshot stands on. */
export const maxLayers = 500;
