#include <algorithm>
#include <array>
#include <map>

#include "sherd/base/errors.hpp"
#include "sherd/io/tensor_folder.hpp"
#include "sherd/model/hugging_face.hpp"
#include "sherd/model/presets.hpp"

namespace sherd::model {
namespace {

constexpr std::array<std::pair<std::string_view, std::string_view>, 12> layer_names{{
    {"attention.ln_gamma", "ln_1.weight"},
    {"attention.ln_beta", "ln_1.bias"},
    {"attention.qkv_weight", "attn.c_attn.weight"},
    {"attention.qkv_bias", "attn.c_attn.bias"},
    {"attention.proj_weight", "attn.c_proj.weight"},
    {"attention.proj_bias", "attn.c_proj.bias"},
    {"mlp.ln_gamma", "ln_2.weight"},
    {"mlp.ln_beta", "ln_2.bias"},
    {"mlp.fc_weight", "mlp.c_fc.weight"},
    {"mlp.fc_bias", "mlp.c_fc.bias"},
    {"mlp.proj_weight", "mlp.c_proj.weight"},
    {"mlp.proj_bias", "mlp.c_proj.bias"},
}};
constexpr std::array<std::pair<std::string_view, std::string_view>, 4> other_names{{
    {"embed.wte", "wte.weight"},
    {"embed.wpe", "wpe.weight"},
    {"head.ln_gamma", "ln_f.weight"},
    {"head.ln_beta", "ln_f.bias"},
}};

/// "[48, 144]", or the one number of a tensor with one dimension.
std::string text(const std::vector<std::uint64_t>& shape) {
  std::string all = "[";
  for (const std::uint64_t size : shape) all += (all.size() > 1 ? ", " : "") + std::to_string(size);
  return all + "]";
}
std::vector<std::uint64_t> dimensions(Shape shape) {
  const auto rows = static_cast<std::uint64_t>(shape.rows);
  const auto cols = static_cast<std::uint64_t>(shape.cols);
  return rows == 1 ? std::vector{cols} : std::vector{rows, cols};
}
bool same_shape(std::vector<std::uint64_t> found, Shape shape) {
  if (shape.rows == 1 && found.size() == 2 && found.front() == 1) found.erase(found.begin());
  return found == dimensions(shape);
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

class FolderWeights final : public Weights {
 public:
  FolderWeights(const std::string& folder, std::unique_ptr<Weights> otherwise)
      : tensors_(folder), otherwise_(std::move(otherwise)) {}

  /// Finds the tensor of `param`; a sentence saying what is wrong, or nothing.
  std::string bind(const ParamSpec& param) {
    const std::string bare = hugging_face_name(param.name);
    const std::string name = tensors_.contains(bare) ? bare : "transformer." + bare;
    if (!tensors_.contains(name)) return bare + " is missing";
    const io::TensorEntry& entry = tensors_.at(name);
    if (!same_shape(entry.shape, param.shape))
      return name + ": got " + text(entry.shape) + ", need " + text(dimensions(param.shape));
    names_[param.name] = name;
    return {};
  }

  void read(const ParamSpec& param, std::uint64_t first, std::span<float> out) const override {
    const auto name = names_.find(param.name);
    if (name == names_.end()) return otherwise_->read(param, first, out);
    const DType type = *tensors_.at(name->second).type;
    const std::size_t size = size_of(type), piece = mib / size;
    std::vector<std::byte> buffer(std::min(out.size(), piece) * size);
    for (std::size_t done = 0; done < out.size(); done += piece) {
      const std::size_t count = std::min(piece, out.size() - done);
      const std::span<std::byte> bytes = std::span(buffer).first(count * size);
      tensors_.read(name->second, bytes, (first + done) * size);
      for (std::size_t i = 0; i < count; ++i) out[done + i] = widen(&bytes[i * size], type);
    }
  }

  std::uint64_t fingerprint() const override {
    std::uint64_t h = otherwise_->fingerprint();
    std::vector<std::byte> buffer(mib);
    for (const auto& [param, name] : names_) {
      h = mix(h ^ hash_name(param));
      const Bytes bytes = tensors_.at(name).bytes;
      for (Bytes at = 0; at < bytes; at += buffer.size()) {
        const std::span<std::byte> part = std::span(buffer).first(std::min(mib, bytes - at));
        tensors_.read(name, part, at);
        h = hashed(h, part);
      }
    }
    return h;
  }

 private:
  static std::uint64_t hashed(std::uint64_t h, std::span<const std::byte> bytes) {
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

  io::TensorFolder tensors_;
  std::unique_ptr<Weights> otherwise_;
  std::map<std::string, std::string> names_;  // ours to the file's
};

}  // namespace

std::string hugging_face_name(const std::string& param) {
  for (const auto& [ours, theirs] : other_names)
    if (param == ours) return std::string(theirs);
  const std::size_t dot = param.find('.');
  if (param.starts_with("layer") && dot != std::string::npos) {
    for (const auto& [ours, theirs] : layer_names)
      if (param.substr(dot + 1) == ours)
        return "h." + param.substr(5, dot - 5) + "." + std::string(theirs);
  }
  throw_usage("hugging_face_name: got " + param + ", need a parameter of GPT-2");
}

std::unique_ptr<Weights> open_weights(const ModelConfig& config, const ModelSpec& spec) {
  if (!names_folder(config) ||
      (config.random_init && !io::TensorFolder::holds_weights(config.model)))
    return random_weights(config.seed);
  if (!io::TensorFolder::holds_weights(config.model))
    throw DataError(config.model +
                    " holds no model.safetensors; --random-init starts from random weights");
  auto weights = std::make_unique<FolderWeights>(config.model, random_weights(config.seed));
  std::string problems;
  for (const ParamSpec& param : spec.params) {
    const std::string problem = weights->bind(param);
    if (!problem.empty() && !config.random_init) problems += "\n  " + problem;
  }
  if (!problems.empty())
    throw DataError("the weights in " + config.model + " do not fit the network:" + problems);
  return weights;
}

}  // namespace sherd::model
