#pragma once
// Where a model's first parameters come from, read by ranges so that a rank loads its shard alone.
#include <memory>
#include <span>

#include "sherd/model/spec.hpp"

namespace sherd::model {

/// **Memory** pieces of at most 1 MiB, and what `open_weights` says.
/// **Errors** DataError when content cannot be read.
class Weights {
 public:
  virtual ~Weights() = default;
  /// Fills `out` with elements [first, first + out.size()) of `param`; from any thread, several at
  /// once.
  virtual void read(const ParamSpec& param, std::uint64_t first, std::span<float> out) const = 0;
  /// Changes when any value does; part of the numerics key. May read everything once.
  [[nodiscard]] virtual std::uint64_t fingerprint() const = 0;
};

/// Each parameter's own distribution, from bits of (seed, its name, element).
[[nodiscard]] std::unique_ptr<Weights> random_weights(std::uint64_t seed);

}  // namespace sherd::model
