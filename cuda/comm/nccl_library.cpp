#include "comm/nccl_library.hpp"

#include <dlfcn.h>

#include "comm/nccl.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::comm {
namespace {

constexpr int oldest = 21800;  // the first with ncclCommSplit

template <class Function>
void look_up(void* handle, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(handle, name));
}

template <class Function>
void need(const std::string& path, void* handle, const char* name, Function& function) {
  look_up(handle, name, function);
  if (function == nullptr) {
    throw CommError("NCCL: " + path + " has no " + name +
                    ": install NCCL 2.18 or later, or choose the local backend");
  }
}

std::string version_text(int code) {
  return std::to_string(code / 10000) + "." + std::to_string(code / 100 % 100) + "." +
         std::to_string(code % 100);
}

void need_version(const std::string& path, const NcclLibrary& library) {
  int version = 0;
  if (library.version(&version) == ncclSuccess && version >= oldest) return;
  throw CommError("NCCL: " + path + " is version " + version_text(version) +
                  ", need 2.18 or later: install it, or choose the local backend");
}

}  // namespace

std::shared_ptr<const NcclLibrary> open_nccl(const std::string& path) {
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == nullptr) {
    const char* reason = dlerror();
    throw CommError("NCCL: cannot load " + path + " (" + (reason == nullptr ? "" : reason) +
                    "): install NCCL 2.18 or later where the loader finds it, or choose the local "
                    "backend");
  }
  auto library = std::make_shared<NcclLibrary>();
  need(path, handle, "ncclGetVersion", library->version);
  need_version(path, *library);
  need(path, handle, "ncclGetUniqueId", library->unique_id);
  need(path, handle, "ncclCommInitRankConfig", library->init);
  need(path, handle, "ncclCommSplit", library->split);
  need(path, handle, "ncclCommFinalize", library->finalize);
  need(path, handle, "ncclCommDestroy", library->destroy);
  need(path, handle, "ncclCommAbort", library->cut);
  need(path, handle, "ncclCommGetAsyncError", library->async_error);
  need(path, handle, "ncclGetErrorString", library->error_string);
  need(path, handle, "ncclGetLastError", library->last_error);
  need(path, handle, "ncclAllGather", library->all_gather);
  need(path, handle, "ncclReduceScatter", library->reduce_scatter);
  need(path, handle, "ncclAllReduce", library->all_reduce);
  need(path, handle, "ncclBroadcast", library->broadcast);
  look_up(handle, "ncclCommRegister", library->enroll);
  look_up(handle, "ncclCommDeregister", library->dismiss);
  return library;
}

}  // namespace sherd::comm
