// See fake_nccl.hpp. A collective moves its data when the last rank of the group has issued it. On
// the null stream it is in progress until then; on any other it is taken at once, and the stream's
// count says when it is complete.
#include "support/fake_nccl/fake_nccl.hpp"

#include <nccl.h>

#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "sherd/base/dtype.hpp"

namespace {

using namespace sherd;

enum class Kind : std::uint8_t { all_gather, reduce_scatter, all_reduce, broadcast };

struct Issue {
  Kind kind;
  const void* from;
  void* to;
  std::size_t count;
  ncclDataType_t type;
  int root;
  const void* stream;

  [[nodiscard]] bool same(const Issue& other) const {
    return kind == other.kind && count == other.count && type == other.type && root == other.root;
  }
};
struct Group {
  int world = 0, joined = 0;
  bool broken = false;                            // a member was cut
  std::vector<std::map<int, Issue>> collectives;  // by number, of each rank
  std::size_t completed = 0;
  std::vector<std::tuple<ncclComm*, int, int, ncclComm_t*>> splitting;  // member, color, key, out
};

}  // namespace

struct ncclComm {
  std::shared_ptr<Group> group;
  int rank = 0;
  int polls = 3;  // during which it is still being made, once all have come
  std::size_t issued = 0;
  bool in_progress = false;  // until the latest collective, on the null stream, is complete
  bool splitting = false;
  ncclResult_t error = ncclSuccess;
};

namespace {

struct Rule {
  int rank;
  int nth;
  int result;
};
struct World {
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<Group>> groups;  // by id
  std::map<ncclComm*, std::unique_ptr<ncclComm>> comms;
  std::map<std::string, std::vector<Rule>> failures;
  std::map<std::pair<std::string, int>, int> calls;  // so far, by function and rank
  std::map<std::string, std::vector<int>> hangs;
  std::vector<Rule> errors;
  std::map<const void*, std::uint64_t> on_stream, off_stream;
  int version = NCCL_VERSION_CODE, ids = 0, registrations = 0, cuts = 0;
  bool hold = false;
};
World& world() {
  static World one;
  return one;
}

// What the script says about this call: success for nothing.
ncclResult_t script(const std::string& name, int rank, int* nth = nullptr) {
  const int count = ++world().calls[{name, rank}];
  if (nth != nullptr) *nth = count;
  for (const Rule& rule : world().failures[name]) {
    if ((rule.rank == fake_nccl::any || rule.rank == rank) && rule.nth == count)
      return static_cast<ncclResult_t>(rule.result);
  }
  return ncclSuccess;
}

std::size_t size_of_type(ncclDataType_t type) {
  if (type == ncclInt64) return 8;
  if (type == ncclFloat32) return 4;
  return type == ncclBfloat16 ? 2 : 1;
}

template <class T, class Sum>
void add(std::vector<std::byte>& total, const void* from, std::size_t count, const Sum& sum) {
  auto* to = reinterpret_cast<T*>(total.data());
  const auto* values = static_cast<const T*>(from);
  for (std::size_t i = 0; i < count; ++i) to[i] = sum(to[i], values[i]);
}

// Σ over ranks, in order, of `count` elements.
std::vector<std::byte> total(const std::vector<Issue>& all, std::size_t count) {
  const ncclDataType_t type = all.front().type;
  std::vector<std::byte> sum(count * size_of_type(type));
  if (!sum.empty()) std::memcpy(sum.data(), all.front().from, sum.size());
  for (std::size_t rank = 1; rank < all.size(); ++rank) {
    const void* from = all[rank].from;
    if (type == ncclInt64) {
      add<std::int64_t>(sum, from, count, [](auto a, auto b) { return a + b; });
    } else if (type == ncclFloat32) {
      add<float>(sum, from, count, [](auto a, auto b) { return a + b; });
    } else {
      add<bfloat16>(sum, from, count,
                    [](auto a, auto b) { return to_bfloat16(to_float(a) + to_float(b)); });
    }
  }
  return sum;
}

void move_data(const std::vector<Issue>& all) {
  const Issue& first = all.front();
  const std::size_t bytes = first.count * size_of_type(first.type), ranks = all.size();
  std::vector<std::byte> result;
  if (first.kind == Kind::all_gather) {
    for (const Issue& one : all) {
      const auto* from = static_cast<const std::byte*>(one.from);
      result.insert(result.end(), from, from + bytes);
    }
  } else if (first.kind == Kind::broadcast) {
    const auto* from =
        static_cast<const std::byte*>(all[static_cast<std::size_t>(first.root)].from);
    result.assign(from, from + bytes);
  } else {
    const bool scattered = first.kind == Kind::reduce_scatter;
    result = total(all, scattered ? first.count * ranks : first.count);
  }
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    const bool scattered = first.kind == Kind::reduce_scatter;
    std::memcpy(all[rank].to, result.data() + (scattered ? rank * bytes : 0),
                scattered ? bytes : result.size());
  }
}

// Completes what all ranks have issued alike, in order.
void advance(Group& group) {
  while (!group.broken) {
    std::vector<Issue> all;
    for (const auto& issues : group.collectives) {
      const auto found = issues.find(static_cast<int>(group.completed));
      if (found == issues.end()) return;
      all.push_back(found->second);
    }
    for (const Issue& one : all) {
      if (!one.same(all.front())) return;  // as NCCL: nothing good comes of it
      if (one.stream != nullptr && world().hold) return;
    }
    move_data(all);
    for (std::size_t rank = 0; rank < all.size(); ++rank) {
      if (all[rank].stream != nullptr) ++world().off_stream[all[rank].stream];
      group.collectives[rank].erase(static_cast<int>(group.completed));
    }
    ++group.completed;
  }
}

bool hangs(const std::string& name, int nth) {
  const auto found = world().hangs.find(name);
  if (found == world().hangs.end()) return false;
  for (const int one : found->second) {
    if (one == nth) return true;
  }
  return false;
}

ncclResult_t issue(const char* name, ncclComm_t comm, const Issue& call) {
  const std::lock_guard lock(world().mutex);
  int nth = 0;
  if (const ncclResult_t result = script(name, comm->rank, &nth); result != ncclSuccess) {
    return comm->error = result;
  }
  if (comm->group->broken) return comm->error = ncclRemoteError;
  const auto number = static_cast<int>(comm->issued++);
  for (const Rule& rule : world().errors) {
    const bool mine = rule.rank == fake_nccl::any || rule.rank == comm->rank;
    if (mine && rule.nth == static_cast<int>(comm->issued))
      comm->error = static_cast<ncclResult_t>(rule.result);
  }
  comm->in_progress = call.stream == nullptr;
  if (call.stream != nullptr) ++world().on_stream[call.stream];
  if (!hangs(name, nth)) {
    comm->group->collectives[static_cast<std::size_t>(comm->rank)].emplace(number, call);
    advance(*comm->group);
  }
  return call.stream == nullptr ? ncclInProgress : ncclSuccess;
}

ncclComm* seat(const std::shared_ptr<Group>& group, int rank) {
  auto comm = std::make_unique<ncclComm>();
  comm->group = group;
  comm->rank = rank;
  ++group->joined;
  ncclComm* at = comm.get();
  world().comms.emplace(at, std::move(comm));
  return at;
}

std::shared_ptr<Group> make_group(int ranks) {
  auto group = std::make_shared<Group>();
  group->world = ranks;
  group->collectives.resize(static_cast<std::size_t>(ranks));
  return group;
}

// All members have asked: makes the parts, ordered by key.
void split_all(Group& parent) {
  std::map<int, std::map<int, std::pair<ncclComm*, ncclComm_t*>>> parts;
  for (const auto& [member, color, key, out] : parent.splitting) {
    parts[color][key] = {member, out};
  }
  parent.splitting.clear();
  for (const auto& [color, members] : parts) {
    const auto group = make_group(static_cast<int>(members.size()));
    int rank = 0;
    for (const auto& [key, one] : members) {
      *one.second = seat(group, rank++);
      one.first->splitting = false;
    }
  }
}

ncclResult_t leave(ncclComm_t comm) {
  world().comms.erase(comm);
  return ncclSuccess;
}

}  // namespace

extern "C" {

void fake_nccl_reset() {
  const std::lock_guard lock(world().mutex);
  World& w = world();
  w.groups.clear();
  w.failures.clear();
  w.calls.clear();
  w.hangs.clear();
  w.errors.clear();
  w.on_stream.clear();
  w.off_stream.clear();
  w.version = NCCL_VERSION_CODE;
  w.registrations = w.cuts = 0;
  w.hold = false;
}
void fake_nccl_fail(int rank, const char* name, int nth, int result) {
  const std::lock_guard lock(world().mutex);
  world().failures[name].push_back({rank, nth, result});
}
void fake_nccl_hang(const char* name, int nth) {
  const std::lock_guard lock(world().mutex);
  world().hangs[name].push_back(nth);
}
void fake_nccl_async_error(int rank, int nth, int result) {
  const std::lock_guard lock(world().mutex);
  world().errors.push_back({rank, nth, result});
}
void fake_nccl_version(int code) {
  const std::lock_guard lock(world().mutex);
  world().version = code;
}
void fake_nccl_hold_streams(bool hold) {
  const std::lock_guard lock(world().mutex);
  world().hold = hold;
  for (const auto& [at, comm] : world().comms) advance(*comm->group);
}
int fake_nccl_communicators() {
  const std::lock_guard lock(world().mutex);
  return static_cast<int>(world().comms.size());
}
int fake_nccl_registrations() {
  const std::lock_guard lock(world().mutex);
  return world().registrations;
}
int fake_nccl_cuts() {
  const std::lock_guard lock(world().mutex);
  return world().cuts;
}
std::uint64_t fake_nccl_issued(const void* stream) {
  const std::lock_guard lock(world().mutex);
  return world().on_stream[stream];
}
std::uint64_t fake_nccl_completed(const void* stream) {
  const std::lock_guard lock(world().mutex);
  return world().off_stream[stream];
}

ncclResult_t ncclGetVersion(int* version) {
  const std::lock_guard lock(world().mutex);
  *version = world().version;
  return ncclSuccess;
}
ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  const std::lock_guard lock(world().mutex);
  const std::string text = "group " + std::to_string(++world().ids);
  std::memset(id->internal, 0, sizeof(id->internal));
  std::memcpy(id->internal, text.data(), text.size());
  return script("ncclGetUniqueId", 0);
}
ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  const std::lock_guard lock(world().mutex);
  if (config == nullptr || config->blocking != 0) return ncclInvalidUsage;  // never in sherd
  if (const ncclResult_t result = script("ncclCommInitRankConfig", rank); result != ncclSuccess) {
    return result;
  }
  auto& group = world().groups[std::string(id.internal, sizeof(id.internal))];
  if (group == nullptr) group = make_group(ranks);
  *comm = seat(group, rank);
  return ncclInProgress;
}
ncclResult_t ncclCommSplit(ncclComm_t comm, int color, int key, ncclComm_t* part,
                           ncclConfig_t* config) {
  const std::lock_guard lock(world().mutex);
  if (config == nullptr || config->blocking != 0) return ncclInvalidUsage;
  if (const ncclResult_t result = script("ncclCommSplit", comm->rank); result != ncclSuccess) {
    return comm->error = result;
  }
  Group& group = *comm->group;
  *part = nullptr;
  comm->splitting = true;
  group.splitting.emplace_back(comm, color, key, part);
  if (static_cast<int>(group.splitting.size()) == group.world) split_all(group);
  return ncclInProgress;
}
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* state) {
  const std::lock_guard lock(world().mutex);
  const Group& group = *comm->group;
  const bool making = group.joined < group.world || comm->splitting;
  const bool behind = comm->issued > group.completed;
  *state = ncclSuccess;
  if (comm->error != ncclSuccess) {
    *state = comm->error;
  } else if (group.broken && (making || behind)) {
    *state = ncclRemoteError;
  } else if (making || comm->polls-- > 0 || (behind && comm->in_progress)) {
    *state = ncclInProgress;
  }
  if (comm->polls < 0) comm->polls = 0;
  return ncclSuccess;
}
ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  const std::lock_guard lock(world().mutex);
  const ncclResult_t result = script("ncclCommFinalize", comm->rank);
  if (result != ncclSuccess) return result;
  comm->polls = 3;
  return ncclInProgress;
}
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  const std::lock_guard lock(world().mutex);
  return leave(comm);
}
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  const std::lock_guard lock(world().mutex);
  comm->group->broken = true;
  comm->group->splitting.clear();
  ++world().cuts;
  return leave(comm);
}
const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclUnhandledCudaError:
      return "unhandled cuda error";
    case ncclSystemError:
      return "unhandled system error";
    case ncclInternalError:
      return "internal error";
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    default:
      return "another error";
  }
}
const char* ncclGetLastError(ncclComm_t) { return "as the script says"; }
ncclResult_t ncclCommRegister(const ncclComm_t comm, void*, size_t, void** handle) {
  const std::lock_guard lock(world().mutex);
  if (const ncclResult_t result = script("ncclCommRegister", comm->rank); result != ncclSuccess) {
    return result;
  }
  ++world().registrations;
  *handle = comm;
  return ncclSuccess;
}
ncclResult_t ncclCommDeregister(const ncclComm_t comm, void* handle) {
  const std::lock_guard lock(world().mutex);
  --world().registrations;
  return handle == comm ? ncclSuccess : ncclInvalidArgument;
}

ncclResult_t ncclAllGather(const void* from, void* to, size_t count, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream) {
  return issue("ncclAllGather", comm, {Kind::all_gather, from, to, count, type, 0, stream});
}
ncclResult_t ncclReduceScatter(const void* from, void* to, size_t count, ncclDataType_t type,
                               ncclRedOp_t, ncclComm_t comm, cudaStream_t stream) {
  return issue("ncclReduceScatter", comm, {Kind::reduce_scatter, from, to, count, type, 0, stream});
}
ncclResult_t ncclAllReduce(const void* from, void* to, size_t count, ncclDataType_t type,
                           ncclRedOp_t, ncclComm_t comm, cudaStream_t stream) {
  return issue("ncclAllReduce", comm, {Kind::all_reduce, from, to, count, type, 0, stream});
}
ncclResult_t ncclBroadcast(const void* from, void* to, size_t count, ncclDataType_t type, int root,
                           ncclComm_t comm, cudaStream_t stream) {
  return issue("ncclBroadcast", comm, {Kind::broadcast, from, to, count, type, root, stream});
}

}  // extern "C"
