#pragma once
// NCCL as found at run time: nothing links it, so a machine without it runs everything else.
#include <nccl.h>

namespace sherd::comm {

/// The functions in use, by what they do. `enroll` and `dismiss` (memory) are absent before 2.19.
struct NcclLibrary {
  decltype(&ncclGetVersion) version;
  decltype(&ncclGetUniqueId) unique_id;
  decltype(&ncclCommInitRankConfig) init;
  decltype(&ncclCommSplit) split;
  decltype(&ncclCommFinalize) finalize;
  decltype(&ncclCommDestroy) destroy;
  decltype(&ncclCommAbort) cut;
  decltype(&ncclCommGetAsyncError) async_error;
  decltype(&ncclGetErrorString) error_string;
  decltype(&ncclGetLastError) last_error;
  decltype(&ncclCommRegister) enroll;
  decltype(&ncclCommDeregister) dismiss;
  decltype(&ncclAllGather) all_gather;
  decltype(&ncclReduceScatter) reduce_scatter;
  decltype(&ncclAllReduce) all_reduce;
  decltype(&ncclBroadcast) broadcast;
};

}  // namespace sherd::comm
