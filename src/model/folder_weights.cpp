#include "model/folder_weights.hpp"

#include <algorithm>

#include "sherd/base/errors.hpp"

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

/// Do neighbours in the parameter lie side by side in the tensor?
bool lies(const FolderTensor& piece, Shape shape) {
  return shape.rows == 1 || (!piece.transposed && piece.columns == shape.cols);
}

/// `lines` of `length` elements become columns of rows that are `pitch` elements apart.
template <class Element>
void spread(const std::byte* from, std::size_t lines, std::size_t length, std::byte* to,
            std::size_t pitch) {
  for (std::size_t i = 0; i < length; ++i)
    for (std::size_t k = 0; k < lines; ++k)
      std::copy_n(from + (k * length + i) * sizeof(Element), sizeof(Element),
                  to + (i * pitch + k) * sizeof(Element));
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
    expects(piece.transposed || lies(piece, param.shape),
            "folder_weights: got a slice of " + piece.name + ", need one that lies transposed");
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
    const bool used = std::ranges::any_of(bound_, [&name = name](const auto& param) {
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
  const Rows to{param.shape, common_type(pieces)};
  panels_.read({param.name, to.shape, to.type}, first, out,
               [&](std::int64_t first_row, std::span<std::byte> rows) {
                 for (const FolderTensor& piece : pieces) fill(piece, to, first_row, rows);
               });
}

/// The type of all pieces, or fp32.
DType FolderWeights::common_type(const std::vector<FolderTensor>& pieces) const {
  const DType first = *tensors_.at(pieces.front().name).type;
  const bool same = std::ranges::all_of(
      pieces, [&](const FolderTensor& p) { return tensors_.at(p.name).type == first; });
  return same ? first : DType::f32;
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
    widen(bytes.data(), type, out.subspan(done, count));
  }
}

/// The piece's columns of whole rows from `first_row` on, a few of them at a time, so that what
/// they are spread over stays in the cache.
void FolderWeights::fill(const FolderTensor& piece, const Rows& to, std::int64_t first_row,
                         std::span<std::byte> rows) const {
  constexpr std::size_t most = 32;
  const DType from = *tensors_.at(piece.name).type;
  const std::size_t size = size_of(from), step = size_of(to.type);
  const std::size_t pitch = static_cast<std::size_t>(to.shape.cols);
  const std::size_t columns = static_cast<std::size_t>(piece.columns);
  expects(step > 0 && pitch > 0, "folder_weights: got rows without elements");
  const std::size_t count = rows.size() / step / pitch;
  std::vector<std::byte> read(most * count * size), wide(from == to.type ? 0 : most * count * step);
  std::byte* out = rows.data() + static_cast<std::size_t>(piece.first_column) * step;
  for (std::size_t j = 0; j < columns; j += most) {
    const std::size_t lines = std::min(most, columns - j);
    for (std::size_t k = 0; k < lines; ++k) {
      const std::uint64_t at = (j + k) * static_cast<std::uint64_t>(to.shape.rows) +
                               static_cast<std::uint64_t>(first_row);
      tensors_.read(piece.name, std::span(read).subspan(k * count * size, count * size), at * size);
    }
    if (!wide.empty())
      widen(read.data(), from, {reinterpret_cast<float*>(wide.data()), lines * count});
    const std::byte* block = wide.empty() ? read.data() : wide.data();
    if (step == 2) {
      spread<std::uint16_t>(block, lines, count, out, pitch);
    } else {
      spread<float>(block, lines, count, out, pitch);
    }
    out += lines * step;
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
