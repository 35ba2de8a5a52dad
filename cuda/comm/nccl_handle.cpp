#include "comm/nccl_handle.hpp"

#include <chrono>
#include <thread>
#include <utility>

#include "sherd/base/errors.hpp"

namespace sherd::comm {
namespace {

constexpr int spins = 200;  // looks before the first nap
constexpr auto nap = std::chrono::microseconds(50);

ncclConfig_t never_blocking() {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  return config;
}

}  // namespace

NcclHandle::NcclHandle(Library library, Idle idle)
    : library_(std::move(library)), idle_(std::move(idle)) {}

ncclUniqueId NcclHandle::make_id() const {
  ncclUniqueId id{};
  const ncclResult_t result = library_->unique_id(&id);
  if (result != ncclSuccess) refuse("ncclGetUniqueId", result);
  return id;
}

void NcclHandle::join(const ncclUniqueId& id, int world, Rank rank) {
  ncclConfig_t config = never_blocking();
  settle("ncclCommInitRankConfig", library_->init(&comm_, world, id, rank, &config));
}

void NcclHandle::join(NcclHandle& parent, int color, int key) {
  ncclConfig_t config = never_blocking();
  parent.child_ = nullptr;
  parent.settle("ncclCommSplit",
                library_->split(parent.comm_, color, key, &parent.child_, &config));
  comm_ = std::exchange(parent.child_, nullptr);
  settle("ncclCommSplit", state());
}

void NcclHandle::enroll(std::span<std::byte> memory) {
  if (library_->enroll == nullptr || library_->dismiss == nullptr || memory.empty()) return;
  const ncclResult_t result = library_->enroll(comm_, memory.data(), memory.size(), &enrolled_);
  if (result == ncclInProgress) return settle("ncclCommRegister", result);
  if (result != ncclSuccess) enrolled_ = nullptr;  // slower, not wrong
}

void NcclHandle::check() {
  const ncclResult_t result = state();
  if (result != ncclSuccess && result != ncclInProgress) refuse("a call that had returned", result);
}

void NcclHandle::finish() {
  if (comm_ == nullptr) return;
  if (enrolled_ != nullptr) {
    const ncclResult_t dismissed = library_->dismiss(comm_, std::exchange(enrolled_, nullptr));
    settle("ncclCommDeregister", dismissed);
  }
  settle("ncclCommFinalize", library_->finalize(comm_));
  (void)library_->destroy(std::exchange(comm_, nullptr));  // frees what finalize has left
}

void NcclHandle::cut() noexcept {
  if (comm_ != nullptr) (void)library_->cut(std::exchange(comm_, nullptr));
}

void NcclHandle::settle(const char* name, ncclResult_t result) {
  for (int looks = 0; result == ncclInProgress; ++looks) {
    idle_();
    if (looks < spins) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(nap);
    }
    result = state();
  }
  if (result != ncclSuccess) refuse(name, result);
}

ncclResult_t NcclHandle::state() const {
  ncclResult_t asynchronous = ncclInternalError;
  const ncclResult_t result = library_->async_error(comm_, &asynchronous);
  return result == ncclSuccess ? asynchronous : result;
}

void NcclHandle::refuse(const char* name, ncclResult_t result) const {
  const char* reason = library_->last_error(comm_);
  std::string text = std::string("NCCL: ") + name + ": " + library_->error_string(result);
  if (reason != nullptr && *reason != '\0') text += std::string(" (") + reason + ")";
  if (result == ncclRemoteError || result == ncclSystemError) throw PeerLost(text);
  throw CommError(text);
}

}  // namespace sherd::comm
