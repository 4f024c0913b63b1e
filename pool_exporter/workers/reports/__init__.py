"""What a process holds, in its worker file: places, units, owners and its last reports, for readers in other processes.

The heartbeat writes it (`written`) into two copies at the end of the process's first file (`copies`). A reader joins it
with the slots, which are always newer (`reading`). Of a worker that crashed it is kept when its file is compacted
(`crashed`). Rules: nothing here may read a stack, decide a verdict or write to the slots of a pool.
"""
