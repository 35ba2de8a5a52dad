#pragma once
// One rank's end of an NCCL group: its deadlines, and what becomes of the run when something fails.
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "comm/nccl_handle.hpp"
#include "comm/patience.hpp"
#include "comm/rendezvous.hpp"
#include "sherd/device/stream.hpp"

namespace sherd::comm {

/// What the groups of a rank share.
struct NcclRank {
  NcclHandle::Library library;
  std::span<std::byte> arena;
  device::Stream* stream = nullptr;
  cudaStream_t native_stream = nullptr;
};

/// **Order** as Communicator; the destructor waits for work on the stream, with a bound, unless an
/// exception is on its way.
/// **Errors** as Communicator: the first failure is recorded in the control block and cuts NCCL
/// off.
class NcclGroup {
 public:
  using Body = std::function<void()>;
  /// `join` makes NCCL's communicator for `group`.
  NcclGroup(NcclRank rank, Group group, const std::function<void(NcclHandle&)>& join);
  ~NcclGroup();
  NcclGroup(const NcclGroup&) = delete;
  NcclGroup& operator=(const NcclGroup&) = delete;

  [[nodiscard]] const Group& group() const { return meet_.group(); }
  [[nodiscard]] const NcclRank& rank() const { return rank_; }
  [[nodiscard]] NcclHandle& handle() { return handle_; }

  /// `issue` puts `call` on the stream.
  void run(const Call& call, const Body& issue);
  void barrier(const Label& label);
  void watch();
  [[nodiscard]] std::unique_ptr<NcclGroup> split(int color);

 private:
  // A collective that is on the stream but has not been seen complete.
  struct Pending {
    device::Ready begun, ready;  // where the stream comes to it, and is past it
    std::uint32_t sequence;
    std::string call;
  };
  using Where = std::string (NcclGroup::*)() const;  // for the cause, if it comes to one

  [[nodiscard]] ControlBlock& control() const { return *meet_.group().control; }
  [[nodiscard]] std::chrono::nanoseconds timeout() const { return meet_.group().timeout; }
  void enter(const char* stage, std::chrono::nanoseconds limit);
  void idle();
  [[nodiscard]] std::string unconnected() const;
  [[nodiscard]] std::string in_call() const;
  [[nodiscard]] std::string in_oldest() const;
  void guarded(const Body& body, Where where = &NcclGroup::in_call);
  [[noreturn]] void fail(const std::exception& error, Where where);
  [[nodiscard]] device::Ready mark();
  void note(device::Ready begun);
  void retire();
  void part_in_order();

  NcclRank rank_;
  Rendezvous meet_;
  NcclHandle handle_;
  std::mutex mutex_;             // a watch may come from another thread than the calls
  const char* stage_ = nullptr;  // what NCCL is doing; nullptr: a collective
  std::uint32_t issued_ = 0;     // its sequence number
  Patience patience_;
  Patience oldest_;  // of the first that is pending, once the stream has come to it
  std::deque<Pending> pending_;
  std::vector<device::Ready> spare_;
  int exceptions_;
};

}  // namespace sherd::comm
