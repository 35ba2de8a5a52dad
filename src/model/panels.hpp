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

struct Panel {
  std::string param;
  std::int64_t first_row = 0;
  std::vector<float> values;  // whole rows
};

/// **Memory** two panels of at most 4 MiB.
class Panels {
 public:
  /// Fills whole rows of a parameter from `first_row` on.
  using Fill = std::function<void(std::int64_t first_row, std::span<float> rows)>;

  /// Elements [first, first + out.size()) of `param`; from any thread.
  void read(const std::string& param, Shape shape, std::uint64_t first, std::span<float> out,
            const Fill& fill);

 private:
  std::shared_ptr<const Panel> panel(const std::string& param, Shape shape, std::int64_t first_row,
                                     const Fill& fill);

  std::mutex mutex_;
  std::array<std::shared_ptr<const Panel>, 2> kept_;
  std::size_t oldest_ = 0;
};

}  // namespace sherd::model
