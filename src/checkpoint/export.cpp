#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "sherd/base/errors.hpp"
#include "sherd/checkpoint/folder.hpp"
#include "sherd/io/new_folder.hpp"
#include "sherd/model/description.hpp"
#include "sherd/model/hugging_face.hpp"
#include "sherd/model/tensor_map.hpp"
#include "sherd/shard/layout.hpp"

namespace sherd::checkpoint {
namespace {

using model::FolderTensor;

constexpr std::uint64_t export_chunk = 16 << 20;  // elements in memory

/// Weights of one parameter by any range; the checkpoint wants whole quanta.
class Reader {
 public:
  Reader(const Checkpoint& from, const std::string& param)
      : from_(from), tensor_(from.find(param)) {
    if (tensor_ == nullptr) throw DataError(from.folder() + ": has no tensor '" + param + "'");
    numel_ = static_cast<std::uint64_t>(tensor_->shape.numel());
  }
  [[nodiscard]] std::vector<float> all() {
    std::vector<float> values(numel_);
    read(0, values);
    return values;
  }
  [[nodiscard]] Shape shape() const { return tensor_->shape; }
  void read(std::uint64_t first, std::span<float> out) {
    const std::uint64_t low = first / shard::quantum * shard::quantum;
    const std::uint64_t high = std::min(numel_, round_up(first + out.size(), shard::quantum));
    if (low == first && high == first + out.size()) return from_.read_weights(*tensor_, first, out);
    space_.resize(high - low);
    from_.read_weights(*tensor_, low, space_);
    std::copy_n(space_.begin() + static_cast<std::ptrdiff_t>(first - low), out.size(), out.begin());
  }

 private:
  const Checkpoint& from_;
  const Tensor* tensor_;
  std::uint64_t numel_ = 0;
  std::vector<float> space_;
};

/// What the adapter of a tensor adds to its weights.
class Adapter {
 public:
  Adapter(const Checkpoint& from, const model::Architecture& network, const FolderTensor& tensor) {
    const std::string name = model::adapter_of(network, tensor);
    if (name.empty()) return;
    std::visit([&](const auto& c) { scale_ = c.lora.scale(), rank_ = c.lora.rank; }, network);
    a_ = Reader(from, name + ".lora_a").all();
    b_ = Reader(from, name + ".lora_b").all();
  }
  [[nodiscard]] bool any() const { return rank_ > 0; }
  /// `values` are columns [first, ...) of a row of the tensor's part of the weight.
  void add_to(std::uint64_t row, std::uint64_t first, std::span<float> values) const {
    if (!any()) return;
    const auto rank = static_cast<std::uint64_t>(rank_);
    const std::uint64_t columns = b_.size() / rank;
    std::vector<double> sums(values.size());
    for (std::uint64_t r = 0; r < rank; ++r) {
      const double factor{a_[row * rank + r]};
      const float* const line = b_.data() + r * columns + first;
      for (std::size_t k = 0; k < sums.size(); ++k) sums[k] += factor * double{line[k]};
    }
    for (std::size_t k = 0; k < sums.size(); ++k)
      values[k] = static_cast<float>(double{values[k]} + double{scale_} * sums[k]);
  }

 private:
  std::int64_t rank_ = 0;
  float scale_ = 0;
  std::vector<float> a_, b_;  // [in, rank], [rank, columns]
};

/// Appends values to a file in another type.
class Out {
 public:
  Out(const io::Stored& file, Bytes at, DType type) : file_(file), at_(at), type_(type) {}
  void put(std::span<const float> values) {
    if (type_ == DType::f32) return write(std::as_bytes(values));
    halves_.resize(values.size());
    std::ranges::transform(values, halves_.begin(), [&](float x) {
      return type_ == DType::bf16 ? to_bfloat16(x).bits : to_float16(x).bits;
    });
    write(std::as_bytes(std::span(halves_)));
  }

 private:
  void write(std::span<const std::byte> bytes) {
    file_.write(at_, bytes);
    at_ += bytes.size();
  }
  const io::Stored& file_;
  Bytes at_;
  DType type_;
  std::vector<std::uint16_t> halves_;
};

// Row by row, or all at once where the tensor takes whole rows.
void write_lying(Reader& from, const FolderTensor& tensor, const Adapter& adapter, Out& out) {
  const auto rows = static_cast<std::uint64_t>(from.shape().rows);
  const auto row = static_cast<std::uint64_t>(from.shape().cols);
  const auto columns = static_cast<std::uint64_t>(tensor.columns);
  const auto first = static_cast<std::uint64_t>(tensor.first_column);
  std::vector<float> values;
  if (columns == row && !adapter.any()) {
    for (std::uint64_t done = 0; done < rows * row; done += export_chunk) {
      values.resize(std::min(export_chunk, rows * row - done));
      from.read(done, values);
      out.put(values);
    }
    return;
  }
  values.resize(columns);
  for (std::uint64_t i = 0; i < rows; ++i) {
    from.read(i * row + first, values);
    adapter.add_to(i, 0, values);
    out.put(values);
  }
}

// As many of the tensor's rows, our columns, as memory holds, from all of our rows.
void write_turned(Reader& from, const FolderTensor& tensor, const Adapter& adapter, Out& out) {
  const auto rows = static_cast<std::uint64_t>(from.shape().rows);
  const auto row = static_cast<std::uint64_t>(from.shape().cols);
  const auto columns = static_cast<std::uint64_t>(tensor.columns);
  const std::uint64_t panel = std::clamp<std::uint64_t>(export_chunk / rows, 1, columns);
  std::vector<float> turned, line(panel);
  for (std::uint64_t j = 0; j < columns; j += panel) {
    const std::uint64_t width = std::min(panel, columns - j);
    turned.resize(width * rows);
    line.resize(width);
    for (std::uint64_t i = 0; i < rows; ++i) {
      from.read(i * row + static_cast<std::uint64_t>(tensor.first_column) + j, line);
      adapter.add_to(i, j, line);
      for (std::uint64_t k = 0; k < width; ++k) turned[k * rows + i] = line[k];
    }
    out.put(turned);
  }
}

/// Tensors by files.
std::vector<std::vector<FolderTensor>> split(std::vector<FolderTensor> tensors,
                                             const ExportOptions& options) {
  std::ranges::sort(tensors, {}, &FolderTensor::name);
  std::vector<std::vector<FolderTensor>> files(1);
  Bytes bytes = 0;
  for (FolderTensor& tensor : tensors) {
    const Bytes size =
        bytes_of(options.type, io::NewTensor{{}, options.type, tensor.shape}.numel());
    if (bytes > 0 && bytes + size > options.file_bytes) {
      files.emplace_back();
      bytes = 0;
    }
    bytes += size;
    files.back().push_back(std::move(tensor));
  }
  return files;
}

Bytes write_file(const Checkpoint& from, const model::Architecture& network,
                 const std::vector<FolderTensor>& tensors, const io::Stored& file, DType type) {
  std::vector<io::NewTensor> heads;
  for (const FolderTensor& tensor : tensors) heads.push_back({tensor.name, type, tensor.shape});
  const std::string head = io::safetensors_head(heads);
  file.write(0, std::as_bytes(std::span(head.data(), head.size())));
  Bytes at = head.size(), total = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    Reader reader(from, tensors[i].param);
    const Adapter adapter(from, network, tensors[i]);
    Out out(file, at, type);
    tensors[i].transposed ? write_turned(reader, tensors[i], adapter, out)
                          : write_lying(reader, tensors[i], adapter, out);
    const Bytes size = bytes_of(type, heads[i].numel());
    at += size;
    total += size;
  }
  file.sync();
  return total;
}

}  // namespace

std::uint64_t export_folder(const Checkpoint& from, const std::string& folder,
                            const ExportOptions& options) {
  expects(options.type == DType::f32 || options.type == DType::bf16 || options.type == DType::f16,
          "export_folder: got another type, need fp32, bf16 or fp16");
  const model::Architecture network =
      model::parse_description(from.folder(), from.manifest().model);
  io::NewFolder made(io::storage(), folder);
  made.write("config.json", model::write_config(network, options.type));
  const auto files = split(model::tensor_map(network), options);
  nlohmann::json places;
  Bytes total = 0;
  for (std::size_t i = 0; i < files.size(); ++i) {
    const std::string name =
        files.size() == 1 ? "model.safetensors"
                          : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, files.size());
    io::Stored file = made.create(name);
    total += write_file(from, network, files[i], file, options.type);
    file.close();
    for (const FolderTensor& tensor : files[i]) places[tensor.name] = name;
  }
  if (files.size() > 1) {
    const nlohmann::json index{{"metadata", {{"total_size", total}}}, {"weight_map", places}};
    made.write("model.safetensors.index.json", index.dump(2) + "\n");
  }
  made.publish();
  return total / size_of(options.type);
}

std::uint64_t export_adapters(const Checkpoint& from, const std::string& folder, DType type) {
  const model::Architecture network =
      model::parse_description(from.folder(), from.manifest().model);
  std::vector<FolderTensor> tensors = model::adapter_map(network);
  if (tensors.empty()) throw ConfigError({"--adapters: " + from.folder() + " has no adapters"});
  std::ranges::sort(tensors, {}, &FolderTensor::name);
  io::NewFolder made(io::storage(), folder);
  made.write("adapter_config.json", model::write_adapter_config(network));
  io::Stored file = made.create("adapter_model.safetensors");
  const Bytes total = write_file(from, network, tensors, file, type);
  file.close();
  made.publish();
  return total / size_of(type);
}

}  // namespace sherd::checkpoint
