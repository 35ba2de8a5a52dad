#pragma once
// Where initial parameter values come from.
#include <cstdint>
#include <span>

#include "sherd/model/spec.hpp"

namespace sherd::model {

/// Values of any part of any parameter, so that a rank reads only its shard.
///
/// **Errors** DataError naming file and tensor.
class Weights {
 public:
  virtual ~Weights() = default;
  /// out[i] = element first + i of the parameter, row-major.
  virtual void read(const ParamSpec& param, std::uint64_t first, std::span<float> out) const = 0;
};

}  // namespace sherd::model
