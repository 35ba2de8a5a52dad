#pragma once
// Where samples come from.
#include <cstdint>
#include <memory>
#include <string>

#include "sherd/base/view.hpp"

namespace sherd::data {

/// What one sample looks like: a row of inputs and a row of labels.
struct SampleShape {
  std::int64_t input_cols = 0;
  DType input_type = DType::i32;
  std::int64_t label_cols = 0;
  DType label_type = DType::i32;
};

/// A numbered set of samples, read by windows and never resident whole.
///
/// **Errors** DataError naming the file and byte offset when content turns out bad.
class Source {
 public:
  virtual ~Source() = default;
  [[nodiscard]] virtual std::uint64_t samples() const = 0;
  [[nodiscard]] virtual SampleShape shape() const = 0;
  /// Fills one row of inputs [1, input_cols] and of labels [1, label_cols]. `sample` < samples().
  virtual void read(std::uint64_t sample, View inputs, View labels) const = 0;
  /// Changes when the content does; part of the numerics key.
  [[nodiscard]] virtual std::uint64_t fingerprint() const = 0;
};

}  // namespace sherd::data
