#include "model/panels.hpp"

#include <algorithm>

namespace sherd::model {
namespace {

std::int64_t rows_of_panel(Shape shape) {
  constexpr auto most = static_cast<std::int64_t>(4 * mib / sizeof(float));
  return std::clamp<std::int64_t>(most / shape.cols, 1, shape.rows);
}

}  // namespace

void Panels::read(const std::string& param, Shape shape, std::uint64_t first, std::span<float> out,
                  const Fill& fill) {
  const std::int64_t rows = rows_of_panel(shape);
  const auto size = static_cast<std::uint64_t>(rows * shape.cols);
  while (!out.empty()) {
    const std::uint64_t index = first / size, within = first % size;
    const auto found = panel(param, shape, static_cast<std::int64_t>(index) * rows, fill);
    const std::size_t count = std::min<std::size_t>(out.size(), found->values.size() - within);
    std::copy_n(found->values.begin() + static_cast<std::ptrdiff_t>(within), count, out.begin());
    out = out.subspan(count);
    first += count;
  }
}

std::shared_ptr<const Panel> Panels::panel(const std::string& param, Shape shape,
                                           std::int64_t first_row, const Fill& fill) {
  const std::lock_guard lock(mutex_);  // neighbours want the same panel: they wait for it
  for (const auto& kept : kept_)
    if (kept && kept->param == param && kept->first_row == first_row) return kept;
  kept_[oldest_].reset();
  auto made = std::make_shared<Panel>();
  made->param = param;
  made->first_row = first_row;
  const std::int64_t rows = std::min(rows_of_panel(shape), shape.rows - first_row);
  made->values.resize(static_cast<std::size_t>(rows * shape.cols));
  fill(first_row, made->values);
  kept_[oldest_] = made;
  oldest_ = 1 - oldest_;
  return made;
}

}  // namespace sherd::model
