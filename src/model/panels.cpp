#include "model/panels.hpp"

#include <algorithm>

#include "sherd/base/errors.hpp"

namespace sherd::model {
namespace {

std::int64_t rows_of_panel(const Panels::Param& param) {
  const std::uint64_t row = bytes_of(param.type, static_cast<std::uint64_t>(param.shape.cols));
  const auto rows = static_cast<std::uint64_t>(param.shape.rows);
  const Bytes most = std::max<Bytes>(4 * mib, rows * row / 16);
  return static_cast<std::int64_t>(std::clamp<std::uint64_t>(most / row, 1, rows));
}

}  // namespace

void widen(const std::byte* from, DType type, std::span<float> to) {
  const auto each = [&](auto element) {
    for (float& out : to) {
      std::copy_n(from, sizeof element, reinterpret_cast<std::byte*>(&element));
      out = to_float(element);
      from += sizeof element;
    }
  };
  if (type == DType::f32) {
    each(float{});
  } else if (type == DType::bf16) {
    each(bfloat16{});
  } else {
    each(float16{});
  }
}

void Panels::read(const Param& param, std::uint64_t first, std::span<float> out, const Fill& fill) {
  const std::int64_t rows = rows_of_panel(param);
  const auto numel = static_cast<std::uint64_t>(rows * param.shape.cols);
  const std::size_t size = size_of(param.type);
  expects(numel > 0, "panels: got a parameter without elements");
  while (!out.empty()) {
    const std::uint64_t index = first / numel, within = first % numel;
    const auto found = panel(param, static_cast<std::int64_t>(index) * rows, fill);
    const std::size_t count = std::min(out.size(), found->rows.size() / size - within);
    widen(&found->rows[within * size], param.type, out.first(count));
    out = out.subspan(count);
    first += count;
  }
}

std::shared_ptr<const Panel> Panels::panel(const Param& param, std::int64_t first_row,
                                           const Fill& fill) {
  const std::lock_guard lock(mutex_);  // neighbours want the same panel: they wait for it
  for (const auto& kept : kept_)
    if (kept && kept->param == param.name && kept->first_row == first_row) return kept;
  kept_[oldest_].reset();
  const std::int64_t rows = std::min(rows_of_panel(param), param.shape.rows - first_row);
  auto made = std::make_shared<Panel>(Panel{param.name, first_row, param.type, {}});
  made->rows.resize(bytes_of(param.type, static_cast<std::uint64_t>(rows * param.shape.cols)));
  fill(first_row, made->rows);
  kept_[oldest_] = made;
  oldest_ = 1 - oldest_;
  return made;
}

}  // namespace sherd::model
