#pragma once
// The executor of a device: lanes are device streams, waits are marks in them, and the host only
// issues. Phases that are the same every time are recorded once and replayed.
#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sherd/base/abort.hpp"
#include "sherd/device/lane.hpp"
#include "sherd/device/stream.hpp"
#include "sherd/engine/trace.hpp"
#include "sherd/engine/walk.hpp"
#include "sherd/memory/ledger.hpp"
#include "sherd/plan/plan.hpp"

namespace sherd::engine {

/// How a phase runs, for the log.
struct PhaseReport {
  std::string program, phase;
  bool replayed = false;
  std::string why_not;  // when it is issued step by step
};

enum class Replay : std::uint8_t { off, where_it_can };

class HostedLanes;

/// **Order** `run` returns when all is issued. Steps of hosted lanes (a communicator that meets on
/// the host, updates there, files) run on a worker a lane: others wait for them on the host.
class StreamExecutor final : public Walk {
 public:
  struct Parts {
    const plan::Scheduled& scheduled;
    Visitor& visitor;
    memory::Ledger& ledger;
    AbortWord& abort;
    const device::OpenDevice& device;
    std::array<device::Stream*, device::lanes> streams{};  // null: a lane without device work
    std::array<bool, device::lanes> hosted{};              // lanes that run on the host
    Replay replay = Replay::where_it_can;
    std::function<void()> watch{};  // called while the host waits
    Trace* trace = nullptr;         // given: each step is waited for, so that its time is its own
    Rank rank = 0;
  };
  explicit StreamExecutor(Parts parts);
  ~StreamExecutor() override;

  void run(std::uint64_t step) override;
  void drain() override;
  [[nodiscard]] std::vector<PhaseReport> report() const;

 private:
  struct Recorded {
    std::string why_not;
    std::uint32_t rounds = 0;
    device::Graph* graph = nullptr;
  };
  void play(std::size_t phase, const Moment& moment);
  void replay(std::size_t phase, const Moment& moment);
  [[nodiscard]] bool try_record(std::size_t phase, const Moment& moment);
  void record(std::size_t phase, const Moment& moment);
  void issue(std::uint32_t step, const Moment& moment);
  void gate(std::uint32_t step);
  void visit(std::uint32_t step, const Moment& moment);
  void hand_over(std::uint32_t step, const Moment& moment);
  void serve(std::uint32_t step, const Moment& moment);
  void settle(const plan::Phase& phase);
  void touch(std::uint32_t step);
  void fork(device::Lane lane);
  void join_lanes(const plan::Phase& phase);
  void part_lanes();
  [[nodiscard]] plan::Lane lane_of(std::uint32_t step) const;
  [[nodiscard]] bool hosted(std::uint32_t step) const;
  [[nodiscard]] device::Stream& stream(device::Lane lane) const;
  [[nodiscard]] std::string why_not(const plan::Phase& phase) const;

  Parts parts_;
  std::size_t ledger_number_;
  std::vector<std::vector<std::uint32_t>> waits_;  // by step
  std::vector<device::Ready> marks_;               // by step
  std::vector<bool> signals_;                      // some other lane waits for this step
  std::vector<const device::Ready*> latest_;       // mark of a step's latest issue; null: none
  std::vector<std::uint64_t> tickets_;             // of hosted steps
  std::vector<Recorded> phases_;
  std::array<std::optional<device::Ready>, device::lanes> tails_;
  std::array<bool, device::lanes> forked_{};
  std::optional<device::Ready> start_;  // of a recording
  bool recording_ = false;
  std::vector<const device::Ready*> needed_;  // of the step that is handed over
  std::unique_ptr<HostedLanes> hosted_;
};

}  // namespace sherd::engine
