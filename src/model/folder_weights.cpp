#include "model/folder_weights.hpp"

#include <algorithm>

namespace sherd::model {
namespace {

/// "[48, 144]", or the one number of a tensor with one dimension.
std::string text(const std::vector<std::uint64_t>& shape) {
  std::string all = "[";
  for (const std::uint64_t size : shape) all += (all.size() > 1 ? ", " : "") + std::to_string(size);
  return all + "]";
}
bool same_shape(std::vector<std::uint64_t> found, const std::vector<std::uint64_t>& needed) {
  if (needed.size() == 1 && found.size() == 2 && found.front() == 1) found.erase(found.begin());
  return found == needed;
}

float widen(const std::byte* at, DType type) {
  if (type == DType::f32) {
    float x;
    std::copy_n(at, sizeof x, reinterpret_cast<std::byte*>(&x));
    return x;
  }
  std::uint16_t bits;
  std::copy_n(at, sizeof bits, reinterpret_cast<std::byte*>(&bits));
  return type == DType::bf16 ? to_float(bfloat16{bits}) : to_float(float16{bits});
}

/// Do neighbours in the parameter lie side by side in the tensor?
bool lies(const FolderTensor& piece, Shape shape) {
  return shape.rows == 1 || (!piece.transposed && piece.columns == shape.cols);
}

std::uint64_t hashed(std::uint64_t h, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    std::uint64_t word = 0;
    const std::size_t count = std::min(bytes.size(), sizeof word);
    std::copy_n(bytes.data(), count, reinterpret_cast<std::byte*>(&word));
    h = (h ^ word) * 0x9e3779b97f4a7c15u;
    h ^= h >> 29;
    bytes = bytes.subspan(count);
  }
  return h;
}

}  // namespace

std::vector<std::string> FolderWeights::bind(const ParamSpec& param,
                                             std::vector<FolderTensor> pieces,
                                             const std::string& prefix) {
  std::vector<std::string> problems;
  for (FolderTensor& piece : pieces) {
    if (!tensors_.contains(piece.name) && piece.name.starts_with(prefix))
      piece.name.erase(0, prefix.size());
    if (!tensors_.contains(piece.name)) {
      problems.push_back(piece.name + " is missing");
      continue;
    }
    const io::TensorEntry& entry = tensors_.at(piece.name);
    if (!same_shape(entry.shape, piece.shape))
      problems.push_back(piece.name + ": got " + text(entry.shape) + ", need " + text(piece.shape));
  }
  if (problems.empty()) bound_[param.name] = std::move(pieces);
  return problems;
}

std::vector<std::string> FolderWeights::unused(const std::string& start,
                                               const std::string& prefix) const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors_.tensors()) {
    const std::string_view bare =
        std::string_view(name).substr(name.starts_with(prefix) ? prefix.size() : 0);
    if (!bare.starts_with(start)) continue;
    const bool used = std::ranges::any_of(bound_, [&](const auto& param) {
      return std::ranges::any_of(param.second,
                                 [&](const FolderTensor& p) { return p.name == name; });
    });
    if (!used) names.push_back(name);
  }
  return names;
}

void FolderWeights::read(const ParamSpec& param, std::uint64_t first, std::span<float> out) const {
  const auto at = bound_.find(param.name);
  if (at == bound_.end()) return otherwise_->read(param, first, out);
  const std::vector<FolderTensor>& pieces = at->second;
  if (std::ranges::all_of(pieces, [&](const FolderTensor& p) { return lies(p, param.shape); })) {
    for (const FolderTensor& piece : pieces) read_lying(piece, first, out);
    return;
  }
  panels_.read(param.name, param.shape, first, out,
               [&](std::int64_t first_row, std::span<float> rows) {
                 fill_rows(pieces, param.shape, first_row, rows);
               });
}

/// The part of `out`, which starts at element `first` of the parameter, that `piece` holds.
void FolderWeights::read_lying(const FolderTensor& piece, std::uint64_t first,
                               std::span<float> out) const {
  std::uint64_t numel = 1;
  for (const std::uint64_t size : piece.shape) numel *= size;
  const auto start = static_cast<std::uint64_t>(piece.first_column);
  const std::uint64_t from = std::max(first, start);
  const std::uint64_t to = std::min<std::uint64_t>(first + out.size(), start + numel);
  if (from < to) read_tensor(piece.name, from - start, out.subspan(from - first, to - from));
}

void FolderWeights::read_tensor(const std::string& name, std::uint64_t first,
                                std::span<float> out) const {
  const DType type = *tensors_.at(name).type;
  const std::size_t size = size_of(type), most = mib / size;
  std::vector<std::byte> buffer(std::min(out.size(), most) * size);
  for (std::size_t done = 0; done < out.size(); done += most) {
    const std::size_t count = std::min(most, out.size() - done);
    const std::span<std::byte> bytes = std::span(buffer).first(count * size);
    tensors_.read(name, bytes, (first + done) * size);
    for (std::size_t i = 0; i < count; ++i) out[done + i] = widen(&bytes[i * size], type);
  }
}

void FolderWeights::fill_rows(const std::vector<FolderTensor>& pieces, Shape shape,
                              std::int64_t first_row, std::span<float> rows) const {
  const std::size_t cols = static_cast<std::size_t>(shape.cols), count = rows.size() / cols;
  const auto first = static_cast<std::uint64_t>(first_row);
  for (const FolderTensor& piece : pieces) {
    const auto columns = static_cast<std::size_t>(piece.columns);
    const std::span<float> out = rows.subspan(static_cast<std::size_t>(piece.first_column));
    if (piece.transposed) {
      fill_transposed(piece, {shape.rows, shape.cols}, first, out);
    } else {
      for (std::size_t i = 0; i < count; ++i)
        read_tensor(piece.name, (first + i) * columns, out.subspan(i * cols, columns));
    }
  }
}

/// A few lines of the tensor at a time, so that what they are spread over stays in the cache.
void FolderWeights::fill_transposed(const FolderTensor& piece, Shape shape, std::uint64_t first,
                                    std::span<float> out) const {
  constexpr std::size_t block = 16;
  const DType type = *tensors_.at(piece.name).type;
  const auto columns = static_cast<std::size_t>(piece.columns);
  const std::size_t cols = static_cast<std::size_t>(shape.cols), size = size_of(type);
  const std::size_t count = (out.size() + cols - 1) / cols;
  std::vector<std::byte> lines(block * count * size);
  for (std::size_t j = 0; j < columns; j += block) {
    const std::size_t wide = std::min(block, columns - j);
    for (std::size_t k = 0; k < wide; ++k)
      tensors_.read(piece.name, std::span(lines).subspan(k * count * size, count * size),
                    ((j + k) * static_cast<std::uint64_t>(shape.rows) + first) * size);
    for (std::size_t i = 0; i < count; ++i)
      for (std::size_t k = 0; k < wide; ++k)
        out[i * cols + j + k] = widen(&lines[(k * count + i) * size], type);
  }
}

std::uint64_t FolderWeights::fingerprint() const {
  std::uint64_t h = otherwise_->fingerprint();
  std::vector<std::byte> buffer(mib);
  for (const auto& [param, pieces] : bound_) {
    for (const FolderTensor& piece : pieces) {
      h = mix(h ^ hash_name(param) ^ static_cast<std::uint64_t>(piece.first_column));
      const Bytes bytes = tensors_.at(piece.name).bytes;
      for (Bytes at = 0; at < bytes; at += buffer.size()) {
        const std::span<std::byte> part = std::span(buffer).first(std::min(mib, bytes - at));
        tensors_.read(piece.name, part, at);
        h = hashed(h, part);
      }
    }
  }
  return h;
}

}  // namespace sherd::model
