/** Layers that an overlay takes (OVL_MAX_STACK of the kernel): of an image, and of what a snapshot stands on. */
export const maxLayers = 500;
/** Of a path, bytes: the kernel's PATH_MAX without the NUL. */
export const longestPath = 4095;
/** The most of a line, bytes, that one record of a container's log has; a longer line is several records. */
export const maxLogLine = 16 * 1024;
