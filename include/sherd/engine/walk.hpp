#pragma once
// Walking a program: what an executor offers, and what it asks of whoever does the steps.
#include <cstdint>
#include <string>

namespace sherd::engine {

/// Where in the run a step is.
struct Moment {
  std::uint64_t step = 0;   // from 0
  std::uint32_t micro = 0;  // in the step
};

/// Does what one step of a program says.
class Visitor {
 public:
  virtual ~Visitor() = default;
  virtual void visit(std::uint32_t step, const Moment& moment) = 0;
  /// The host's part of a step on a device, before its device part is queued or replayed.
  virtual void prepare(std::uint32_t /*step*/, const Moment& /*moment*/) {}
  /// The device part of a step, or a recording that holds it, has been queued: now the host may
  /// mark the place, outside of any recording.
  virtual void queued(std::uint32_t /*step*/) {}
  /// Why the device part of a step cannot be recorded once and replayed; empty when it can.
  [[nodiscard]] virtual std::string varies(std::uint32_t /*step*/) const { return {}; }
};

/// Runs one program, again and again. Knows no stage.
///
/// **Errors** the first exception of any lane; the walk is then dead.
class Walk {
 public:
  virtual ~Walk() = default;
  virtual void run(std::uint64_t step) = 0;
  virtual void drain() = 0;  // returns when all lanes have done what was issued
};

}  // namespace sherd::engine
