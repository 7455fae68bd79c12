/* All that JavaScript sees of the addon. */
#include "copy.h"
#include "decoder.h"
#include "files.h"
#include "idmap.h"
#include "join.h"
#include "log.h"
#include "lookup.h"
#include "mounts.h"
#include "notify.h"
#include "spawn.h"
#include "streams.h"
#include "tree.h"
#include "unpack.h"
#include "usage.h"
#include "write.h"

static const struct {
  const char *name;
  addon_call *call;
} functions[] = {
    /* files.c */
    {"readFileInRoot", read_file_in_root},
    {"isMountRoot", is_mount_root},
    {"copyDirectoryAttributes", copy_directory_attributes},
    {"setAccessList", set_access_list},
    {"tryLock", try_lock},
    /* tree.c */
    {"openTree", open_tree},
    {"closeTree", close_tree},
    /* unpack.c */
    {"treeWriteFile", tree_write_file},
    {"treeAwaitFiles", tree_await_files},
    {"treeCreateFile", tree_create_file},
    {"treeFinishFile", tree_finish_file},
    {"treeMakeDir", tree_make_dir},
    {"treeSymlink", tree_symlink},
    {"treeMakeNode", tree_make_node},
    {"treeLink", tree_link},
    {"treeRemove", tree_remove},
    {"treeSetXattrs", tree_set_xattrs},
    {"treeSetTimes", tree_set_times},
    {"treeMkdir", tree_mkdir},
    {"treeIsPlain", tree_is_plain},
    /* join.c */
    {"treeKind", tree_kind},
    {"treeReadlink", tree_readlink},
    {"treeXattrs", tree_xattrs},
    {"treeInode", tree_inode},
    {"treeTimes", tree_times},
    {"treeList", tree_list},
    {"treeCopyAttributes", tree_copy_attributes},
    {"treeCopyFile", tree_copy_file},
    {"treeCopyNode", tree_copy_node},
    {"treeRename", tree_rename},
    /* decoder.c */
    {"openDecoder", open_decoder},
    {"decoderPush", decoder_push},
    {"decoderRoom", decoder_room},
    {"decoderEnd", decoder_end},
    {"decoderTake", decoder_take},
    {"decoderProblem", decoder_problem},
    {"decoderDigest", decoder_digest},
    {"closeDecoder", close_decoder},
    /* usage.c */
    {"removeTree", remove_call},
    {"diskUsage", disk_usage},
    {"syncFilesystem", sync_filesystem},
    /* copy.c */
    {"copyTree", start_copy},
    /* mounts.c */
    {"mountOverlay", mount_overlay},
    {"bindMount", bind_mount},
    {"mount", plain_mount},
    {"unmount", unmount},
    /* idmap.c */
    {"bindMapped", bind_mapped_call},
    {"openInRoot", open_path_in_root},
    /* spawn.c */
    {"spawnKeeper", spawn_keeper_call},
    {"reap", reap_call},
    {"openProcess", open_process_call},
    {"endProcess", end_process_call},
    /* lookup.c */
    {"lookup", lookup_call},
    /* log.c */
    {"logOpen", log_open},
    {"logWrite", log_write},
    {"logFlush", log_flush},
    {"logLost", log_lost},
    /* notify.c */
    {"notify", notify_call},
    /* streams.c */
    {"connectUnix", connect_unix},
    {"connectLoopback", connect_in_namespace},
    {"socketError", socket_error},
    {"setWindowSize", set_window_size},
    {"receiveDescriptors", receive_descriptors},
    {"watchOpen", watch_open},
    {"watchFor", watch_for},
    {"watchClose", watch_close},
    /* write.c */
    {"writeFile", write_call},
    {"makeDirectory", directory_call},
    {"makeDirectories", directories_call},
};

NAPI_MODULE_INIT() {
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    napi_value function;
    const char *name = functions[i].name;
    if (napi_create_function(env, name, NAPI_AUTO_LENGTH, functions[i].call, NULL, &function) != napi_ok ||
        napi_set_named_property(env, exports, name, function) != napi_ok)
      return NULL;
  }
  return exports;
}
