#pragma once
// Owns one NCCL communicator that never blocks.
#include <functional>
#include <memory>
#include <span>

#include "comm/nccl_library.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/base/units.hpp"

namespace sherd::comm {

/// NCCL lost a peer, which may be about to say why itself.
struct PeerLost : CommError {
  using CommError::CommError;
};

/// **Order** a call returns when NCCL has taken it. Until then `idle` is called between looks; it
/// throws to give up.
/// **Errors** CommError with NCCL's own reason, and whatever `idle` throws; after either only `cut`
/// and the destructor, which does the same, are of use.
class NcclHandle {
 public:
  using Idle = std::function<void()>;
  using Library = std::shared_ptr<const NcclLibrary>;

  NcclHandle(Library library, Idle idle);
  ~NcclHandle() { cut(); }
  NcclHandle(const NcclHandle&) = delete;
  NcclHandle& operator=(const NcclHandle&) = delete;

  [[nodiscard]] ncclUniqueId make_id() const;
  /// Takes seat `rank` of `world` in the group of `id`.
  void join(const ncclUniqueId& id, int world, Rank rank);
  /// Becomes the part of `parent` that gives `color`, ordered by `key`.
  void join(NcclHandle& parent, int color, int key);
  /// Registers `memory`, where NCCL can.
  void enroll(std::span<std::byte> memory);

  /// `issue(library, communicator)` is the call of `name`.
  template <class Issue>
  void call(const char* name, const Issue& issue) {
    settle(name, issue(*library_, comm_));
  }
  /// Throws what has gone wrong since the last call.
  void check();
  /// Leaves in good order, after the work that was put on streams.
  void finish();
  /// Ends all work of this communicator, here and on its streams.
  void cut() noexcept;

 private:
  void settle(const char* name, ncclResult_t result);
  [[nodiscard]] ncclResult_t state() const;
  [[noreturn]] void refuse(const char* name, ncclResult_t result) const;

  Library library_;
  Idle idle_;
  ncclComm_t comm_ = nullptr;
  ncclComm_t child_ = nullptr;  // where NCCL's own thread puts a part split off
  void* enrolled_ = nullptr;
};

}  // namespace sherd::comm
