#pragma once
// Lanes of a device program whose steps run on a thread of the host: a worker for each, which waits
// for marks of streams and for tickets of other such lanes.
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sherd/base/abort.hpp"
#include "sherd/device/lane.hpp"
#include "sherd/device/stream.hpp"
#include "sherd/engine/walk.hpp"

namespace sherd::engine {

/// **Order** steps of a lane run in the order in which they were handed over; the destructor runs
/// what is left.
class HostedLanes {
 public:
  using Perform = std::function<void(std::uint32_t step, const Moment& moment)>;
  using Tickets = std::array<std::uint64_t, device::lanes>;  // by lane; 0: none

  struct Parts {
    AbortWord& abort;
    std::string who;
    Perform perform;
    device::Watch watch;  // called while the issuing thread waits
  };
  explicit HostedLanes(Parts parts) : parts_(std::move(parts)) {}

  void start(device::Lane lane);

  /// `step` runs once all `marks` are reached and all `tickets` finished; returns its own ticket.
  /// Waits while the lane is far behind.
  ///
  /// **Memory** the marks outlive the step, and are recorded again only after it.
  std::uint64_t hand_over(device::Lane lane, std::uint32_t step, const Moment& moment,
                          std::span<const device::Ready* const> marks, const Tickets& tickets);

  /// The issuing thread waits. **Errors** CommError when the run has ended.
  void block(device::Lane lane, std::uint64_t ticket) const;
  void block(const Tickets& tickets) const;
  /// The latest ticket of each lane.
  [[nodiscard]] Tickets handed() const;
  /// What a worker threw by itself; failing that, what one heard of others.
  void rethrow();

 private:
  struct Task {
    Moment moment;
    std::vector<const device::Ready*> marks;
    Tickets tickets{};
  };
  struct Hosted {
    std::vector<Task> ring;
    std::uint64_t handed = 0;
    device::Progress done;
    std::unique_ptr<device::LaneWorker> worker;
  };
  void serve(Hosted& lane, std::uint32_t step, std::uint64_t ticket);
  static std::size_t at(device::Lane lane) { return static_cast<std::size_t>(lane); }

  Parts parts_;
  // Workers look at each other's progress: all end before any of it does.
  struct Workers {
    std::array<Hosted, device::lanes> lanes;
    ~Workers() {
      for (Hosted& lane : lanes) lane.worker.reset();
    }
  } all_;
};

}  // namespace sherd::engine
