#include "sherd/checkpoint/checkpoint.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "checkpoint/blocks.hpp"
#include "checkpoint/whole_blocks.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/kernels/block8.hpp"
#include "sherd/kernels/update.hpp"

namespace sherd::checkpoint {
namespace {

constexpr Bytes manifest_limit = 1 * gib;

Manifest read_manifest(io::Storage& storage, const std::string& folder) {
  const io::Stored file = io::open_stored(storage, folder + "/" + manifest_name);
  const Bytes size = file.size();
  if (size > manifest_limit) throw DataError(file.path() + ": is larger than any manifest");
  std::string text(size, '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  return parse_manifest(file.path(), text);
}

View flat(std::byte* data, DType type, std::uint64_t count) {
  return {data, {1, static_cast<std::int64_t>(count)}, type};
}

}  // namespace

Checkpoint::Checkpoint(io::Storage& storage, std::string folder)
    : folder_(std::move(folder)),
      manifest_(read_manifest(storage, folder_)),
      blocks_(std::make_unique<Blocks>(storage, folder_, manifest_.contents.files)) {}

Checkpoint::~Checkpoint() = default;

const Tensor* Checkpoint::find(const std::string& name) const {
  const std::vector<Tensor>& all = manifest_.contents.tensors;
  const auto at = std::ranges::lower_bound(all, name, {}, &Tensor::name);
  return at == all.end() || at->name != name ? nullptr : &*at;
}

std::string Checkpoint::contents_of(std::uint32_t file, std::uint64_t block) const {
  constexpr std::size_t most = 4;
  const Bytes first = block * block_bytes, end = first + block_bytes;
  std::string text;
  std::size_t count = 0;
  for (const Tensor& tensor : manifest_.contents.tensors) {
    for (const TensorState& state : tensor.states) {
      const bool here = std::ranges::any_of(state.extents, [&](const Extent& e) {
        return e.file == file && e.offset < end &&
               e.offset + packed_bytes(state.type, e.count) > first;
      });
      if (!here || ++count > most) continue;
      text += (count == 1 ? "; it holds " : ", ") + std::string(name_of(state.state)) + " of '" +
              tensor.name + "'";
    }
  }
  return count > most ? text + fmt::format(" and {} more", count - most) : text;
}

void Checkpoint::read_bytes(std::uint32_t file, Bytes offset, std::span<std::byte> into) const {
  while (!into.empty()) {
    const std::uint64_t block = offset / block_bytes;
    const Bytes first = offset % block_bytes;
    const std::size_t now = std::min<std::size_t>(into.size(), block_bytes - first);
    try {
      blocks_->copy(file, block, first, into.first(now));
    } catch (const DataError& error) {
      throw DataError(error.what() + contents_of(file, block));
    }
    into = into.subspan(now);
    offset += now;
  }
}

void Checkpoint::read(const Tensor& tensor, State state, std::uint64_t first, std::uint64_t count,
                      std::span<std::byte> into) const {
  const TensorState* kept = tensor.find(state);
  expects(kept != nullptr && into.size() == packed_bytes(kept->type, count),
          "checkpoint: got a state that is not kept, or another size");
  const std::uint64_t end = first + count;
  auto extent = std::ranges::upper_bound(kept->extents, first, {}, &Extent::first);
  for (--extent; first < end; ++extent) {
    const std::uint64_t in = first - extent->first, now = std::min(extent->count - in, end - first);
    const Bytes bytes = packed_bytes(kept->type, now);
    read_bytes(extent->file, extent->offset + packed_bytes(kept->type, in), into.first(bytes));
    into = into.subspan(bytes);
    first += now;
  }
}

void Checkpoint::read_blocks(const Tensor& tensor, std::uint64_t first, const View& into) const {
  const auto numel = static_cast<std::uint64_t>(tensor.shape.numel());
  const std::uint64_t count = std::min(static_cast<std::uint64_t>(into.numel()), numel - first);
  expects(tensor.in_blocks() && into.type == DType::q8 &&
              static_cast<std::uint64_t>(into.numel()) == round_up(count, q8_elements),
          "checkpoint: got weights that are no 8-bit blocks, or no room for whole ones");
  std::vector<std::byte> stored(packed_bytes(DType::q8, count));
  read(tensor, State::param, first, count, stored);
  put_whole_blocks(stored, count, into.data);
}

void Checkpoint::decode(const Tensor& tensor, std::uint64_t first, std::span<float> out) const {
  const std::uint64_t count = round_up(out.size(), q8_elements);
  std::vector<std::byte> blocks(bytes_of(DType::q8, count));
  read_blocks(tensor, first, flat(blocks.data(), DType::q8, count));
  std::vector<float> values(count);
  device::Stream own(1);  // of this thread
  kernels::decode_blocks(flat(blocks.data(), DType::q8, count),
                         flat(reinterpret_cast<std::byte*>(values.data()), DType::f32, count), own);
  std::copy_n(values.begin(), out.size(), out.begin());
}

void Checkpoint::read_weights(const Tensor& tensor, std::uint64_t first,
                              std::span<float> out) const {
  const TensorState *param = tensor.find(State::param), *master = tensor.find(State::master);
  const State whole =
      master != nullptr && master->type == DType::f32 ? State::master : State::param;
  const TensorState* kept = tensor.find(whole);
  if (kept != nullptr && kept->type == DType::f32)
    return read(tensor, whole, first, out.size(), std::as_writable_bytes(out));
  if (tensor.in_blocks()) return decode(tensor, first, out);
  // Split: both halves. Frozen: the stored one is all there is.
  const bool half =
      param != nullptr && (param->type == DType::bf16 || param->type == DType::f16) &&
      (master == nullptr || (master->type == DType::u16 && param->type == DType::bf16));
  if (!half) throw DataError(folder_ + ": tensor '" + tensor.name + "' keeps no weights");
  std::vector<std::byte> high(2 * out.size()), low(master != nullptr ? 2 * out.size() : 0);
  read(tensor, State::param, first, out.size(), high);
  if (master != nullptr) read(tensor, State::master, first, out.size(), low);
  kernels::load_master(flat(high.data(), param->type, out.size()),
                       low.empty() ? View{} : flat(low.data(), DType::u16, out.size()),
                       flat(reinterpret_cast<std::byte*>(out.data()), DType::f32, out.size()));
}

namespace {

/// The first parameters of a network, out of a checkpoint that outlives it.
class CheckpointWeights final : public model::Weights {
 public:
  explicit CheckpointWeights(const Checkpoint& from) : from_(from) {}
  void read(const model::ParamSpec& param, std::uint64_t first,
            std::span<float> out) const override {
    const Tensor* tensor = from_.find(param.name);
    expects(tensor != nullptr, "checkpoint: got a parameter it was not opened for");
    from_.read_weights(*tensor, first, out);
  }
  [[nodiscard]] std::uint64_t fingerprint() const override {
    return from_.manifest().start_weights;
  }

 private:
  const Checkpoint& from_;
};

}  // namespace

std::unique_ptr<model::Weights> weights_of(const Checkpoint& checkpoint,
                                           const model::ModelSpec& spec) {
  std::string problems;
  for (const model::ParamSpec& param : spec.params) {
    const Tensor* tensor = checkpoint.find(param.name);
    if (tensor == nullptr)
      problems += "\n  " + param.name + " is missing";
    else if (tensor->shape != param.shape)
      problems += "\n  " + param.name + " has another shape";
  }
  if (!problems.empty())
    throw DataError(checkpoint.folder() + ": is of another network:" + problems);
  return std::make_unique<CheckpointWeights>(checkpoint);
}

}  // namespace sherd::checkpoint
