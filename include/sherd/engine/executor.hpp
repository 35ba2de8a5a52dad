#pragma once
// Walks a program's phases: gates each step by its waits, calls the visitor, publishes the ticket.
// Knows no stage.
#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "sherd/base/abort.hpp"
#include "sherd/device/lane.hpp"
#include "sherd/engine/trace.hpp"
#include "sherd/engine/walk.hpp"
#include "sherd/memory/ledger.hpp"
#include "sherd/plan/plan.hpp"

namespace sherd::engine {

enum class Lanes : std::uint8_t { inlined, threads };

/// Runs one program, again and again.
///
/// **Order** With `Lanes::threads` every lane but compute is one worker; `run` returns when the
/// calling thread has done its steps, `drain` when all lanes have. With `Lanes::inlined` steps run
/// in issue order, with the same bits.
/// **Memory** Under the address sanitizer, inline, only what the running step declared is
/// accessible.
/// **Errors** the first exception of any lane; the executor is then dead.
class Executor final : public Walk {
 public:
  struct Parts {
    const plan::Scheduled& scheduled;
    Visitor& visitor;
    std::array<std::span<std::byte>, memory::tiers> arenas;
    memory::Ledger& ledger;
    AbortWord& abort;
    Trace* trace = nullptr;
    Rank rank = 0;  // who failed, in the cause that all ranks read
  };
  Executor(const Parts& parts, Lanes lanes);
  ~Executor() override;

  void run(std::uint64_t step) override;
  void drain() override;

 private:
  struct Issue {
    std::array<std::uint64_t, device::lanes> waits{};  // ticket by lane that must have finished
    Moment moment;
  };
  void issue(std::uint32_t step, const Moment& moment);
  void perform(std::uint32_t step, const Issue& issue, device::Lane lane, std::uint64_t ticket);
  void call(std::uint32_t step, const Moment& moment);
  void guard(std::uint32_t step, bool open) const;
  void start_workers();
  void rethrow();

  Parts parts_;
  Lanes lanes_;
  std::size_t ledger_number_;
  std::vector<std::vector<std::uint32_t>> waits_;  // by step
  std::vector<std::uint64_t> last_ticket_;         // by step
  std::array<std::uint64_t, device::lanes> issued_{};
  std::array<device::Progress, device::lanes> progress_;
  std::array<std::vector<Issue>, device::lanes> rings_;
  std::array<std::unique_ptr<device::LaneWorker>, device::lanes> workers_;
};

}  // namespace sherd::engine
