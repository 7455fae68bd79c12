/** The profile that Berth loads for RuntimeDefault. */
export const defaultProfile = 'berth-default';

/**
 * Everything that other confinement already governs is allowed; denied is what reaches past a container: mounts, the
 * host's switches in /proc and /sys, and tracing or signalling processes under other profiles. Files, not abstractions
 * that a host may lack. Below /proc/sys stay what namespaces isolate (net, kernel/shm*, msg*, sem*, fs/mqueue) and below
 * /sys the cgroups.
 */
export const defaultProfileText = `profile ${defaultProfile} flags=(attach_disconnected,mediate_deleted) {
  capability,
  file,
  network,
  umount,

  signal (receive) peer=unconfined,
  signal (receive) peer={crun,runc},
  signal (send, receive) peer=${defaultProfile},
  ptrace (read, readby, trace, tracedby) peer=${defaultProfile},

  deny mount,

  deny /proc/* wkl,
  deny /proc/{kcore,kmem,mem,sysrq-trigger} rwklx,
  deny /proc/{acpi,asound,bus,driver,dynamic_debug,fs,irq,mpt,scsi,sysvipc,tty}/** wkl,
  deny /proc/sys/{abi,crypto,debug,dev,sunrpc,user,vm}/** wkl,
  deny /proc/sys/fs/{[^m],m[^q]}** wkl,
  deny /proc/sys/kernel/{[^dms],d[^o],m[^s],s[^eh]}** wkl,
  deny /proc/sys/kernel/seccomp/** wkl,

  deny /sys/{block,bus,class,dev,devices,hypervisor,kernel,module,power}/** wklx,
  deny /sys/fs/{[^c],c[^g]}** wklx,
  deny /sys/{firmware,kernel/debug,kernel/security,devices/virtual/powercap}/** rwklx,
}
`;
