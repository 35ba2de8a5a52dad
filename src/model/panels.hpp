#pragma once
// Rows of a parameter put together from tensors that lie transposed. Such rows are columns there,
// so neighbours are fetched together and kept while they are asked for.
#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "sherd/base/view.hpp"

namespace sherd::model {

/// Whole rows of one parameter in the file's own type.
struct Panel {
  std::string param;
  std::int64_t first_row = 0;
  DType type = DType::f32;
  std::vector<std::byte> rows;
};

/// fp32, bf16 or fp16 elements, which need not be aligned, as fp32.
void widen(const std::byte* from, DType type, std::span<float> to);

/// **Memory** two panels, each of 4 MiB or, if that is more, 1/16 of the parameter.
class Panels {
 public:
  struct Param {
    const std::string& name;
    Shape shape;
    DType type;
  };
  /// Fills whole rows from `first_row` on.
  using Fill = std::function<void(std::int64_t first_row, std::span<std::byte> rows)>;

  /// Elements [first, first + out.size()) of `param`; from any thread.
  void read(const Param& param, std::uint64_t first, std::span<float> out, const Fill& fill);

 private:
  std::shared_ptr<const Panel> panel(const Param& param, std::int64_t first_row, const Fill& fill);

  std::mutex mutex_;
  std::array<std::shared_ptr<const Panel>, 2> kept_;
  std::size_t oldest_ = 0;
};

}  // namespace sherd::model
