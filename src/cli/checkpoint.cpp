#include "cli/checkpoint.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>

#include "sherd/base/errors.hpp"
#include "sherd/base/log.hpp"
#include "sherd/checkpoint/checkpoint.hpp"
#include "sherd/checkpoint/folder.hpp"
#include "sherd/checkpoint/store.hpp"
#include "sherd/cli/event_log.hpp"

namespace sherd::cli {
namespace {

using checkpoint::Checkpoint;
using checkpoint::Tensor;
using checkpoint::TensorState;
using Json = nlohmann::ordered_json;

Checkpoint opened(const std::string& folder) {
  std::vector<std::string> names;
  if (io::storage().list(folder, names) >= 0 &&
      std::ranges::find(names, checkpoint::manifest_name) == names.end()) {
    const std::vector<checkpoint::Found> all = checkpoint::list(io::storage(), folder);
    if (all.empty()) throw DataError(folder + ": holds no checkpoint");
    return Checkpoint(io::storage(), all.front().folder);
  }
  return Checkpoint(io::storage(), folder);
}

Bytes size_of(const Checkpoint& c) {
  Bytes bytes = 0;
  for (const checkpoint::FileEntry& file : c.manifest().contents.files) bytes += file.size;
  return bytes;
}

std::uint64_t parameters_of(const Checkpoint& c) {
  std::uint64_t count = 0;
  for (const Tensor& tensor : c.manifest().contents.tensors)
    count += static_cast<std::uint64_t>(tensor.shape.numel());
  return count;
}

// "master fp32, moment1 q8"
std::string formats_of(const Tensor& tensor) {
  std::string text;
  for (const TensorState& state : tensor.states)
    text +=
        fmt::format("{}{} {}", text.empty() ? "" : ", ", name_of(state.state), name_of(state.type));
  return text;
}

Json summary(const Checkpoint& c) {
  const checkpoint::Manifest& m = c.manifest();
  const Json network = Json::parse(m.model, nullptr, false);  // or words, of somebody's own
  return {{"path", c.folder()},
          {"step", m.progress.step},
          {"applied", m.progress.applied},
          {"loss_scale", m.progress.scale},
          {"world", m.world},
          {"parameters", parameters_of(c)},
          {"bytes", size_of(c)},
          {"run", m.run},
          {"library", m.library},
          {"numerics_key", m.numerics_key},
          {"data", m.data},
          {"model", network.is_discarded() ? Json(m.model) : network},
          {"settings", m.settings}};
}

// A path may be no UTF-8.
std::string line_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// How the weights of a tensor differ.
struct Difference {
  std::uint64_t elements = 0;
  double largest = 0;
};
Difference difference_of(const Checkpoint& a, const Checkpoint& b, const Tensor& left,
                         const Tensor& right) {
  constexpr std::uint64_t portion = 1 << 16;
  Difference found;
  const auto numel = static_cast<std::uint64_t>(left.shape.numel());
  for (std::uint64_t done = 0; done < numel; done += portion) {
    std::vector<float> x(std::min(portion, numel - done)), y(x.size());
    a.read_weights(left, done, x);
    b.read_weights(right, done, y);
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (std::bit_cast<std::uint32_t>(x[i]) == std::bit_cast<std::uint32_t>(y[i])) continue;
      ++found.elements;
      const double apart = std::abs(static_cast<double>(x[i]) - y[i]);
      if (apart > found.largest || std::isnan(apart)) found.largest = apart;  // NaN stays
    }
  }
  return found;
}

}  // namespace

CheckpointCommand::CheckpointCommand(CLI::App& app)
    : group_(app.add_subcommand("checkpoint", "Look at checkpoints, and check them.")),
      inspect_(group_->add_subcommand("inspect", "Say what is in a checkpoint.")),
      verify_(group_->add_subcommand("verify", "Read and check every byte of a checkpoint.")),
      diff_(group_->add_subcommand("diff", "Say how the weights of two checkpoints differ.")),
      export_(group_->add_subcommand("export", "Write the weights as a Hugging Face folder.")),
      import_(group_->add_subcommand("import", "Make a first checkpoint of such a folder.")) {
  group_->require_subcommand(1);
  for (CLI::App* one : {inspect_, verify_, diff_, export_, import_}) {
    one->add_option("folder", folder_,
                    one == import_ ? "config.json and *.safetensors"
                                   : "a checkpoint, or a folder of them: then its newest")
        ->required()
        ->type_name("DIR");
    one->add_flag("--json", json_, "machine-readable, on stdout");
  }
  diff_->add_option("other", other_, "what it is compared with")->required()->type_name("DIR");
  export_->add_option("--out", out_, "a new folder")->required()->type_name("FOLDER");
  export_->add_option("--dtype", dtype_, "of the tensors")
      ->check(CLI::IsMember({"fp32", "bf16", "fp16"}))
      ->type_name("fp32|bf16|fp16")
      ->capture_default_str();
  export_->add_option("--file-size", file_size_, "a file is closed before it grows larger")
      ->type_name("SIZE")
      ->capture_default_str();
  export_->add_flag("--adapters", adapters_, "adapters alone, as PEFT writes them; else merged");
  import_->add_option("--out", out_, "a new folder of checkpoints: for --save and --resume latest")
      ->required()
      ->type_name("DIR");
  group_->footer("\nExample: sherd checkpoint verify runs/a");
}

bool CheckpointCommand::parsed() const { return group_->parsed(); }

int CheckpointCommand::run() {
  if (inspect_->parsed()) return inspect();
  if (verify_->parsed()) return verify();
  if (export_->parsed()) return export_weights();
  if (import_->parsed()) return import_weights();
  return diff();
}

int CheckpointCommand::inspect() const {
  const Checkpoint c = opened(folder_);
  const checkpoint::Contents& contents = c.manifest().contents;
  if (json_) {
    Json all = summary(c);
    for (const checkpoint::FileEntry& file : contents.files)
      all["files"].push_back({{"name", file.name}, {"size", file.size}});
    for (const Tensor& tensor : contents.tensors) {
      Json states = Json::object();
      for (const TensorState& state : tensor.states)
        states[std::string(name_of(state.state))] = name_of(state.type);
      all["tensors"].push_back({{"name", tensor.name},
                                {"shape", {tensor.shape.rows, tensor.shape.cols}},
                                {"states", states}});
    }
    std::cout << line_of(all) << std::endl;
    return 0;
  }
  const checkpoint::Manifest& m = c.manifest();
  std::cout << fmt::format("{}\nstep {}, saved by {} rank{} of sherd {}, run {}\n", c.folder(),
                           m.progress.step, m.world, m.world == 1 ? "" : "s", m.library, m.run)
            << fmt::format("{} parameters, {} in {} files\nmodel {}\n", parameters_of(c),
                           format_bytes(size_of(c)), contents.files.size(), m.model);
  for (const Tensor& tensor : contents.tensors)
    std::cout << fmt::format("  {:<36} {:>7} x {:<7} {}\n", tensor.name, tensor.shape.rows,
                             tensor.shape.cols, formats_of(tensor));
  return 0;
}

int CheckpointCommand::verify() const {
  const Checkpoint c = opened(folder_);
  const std::vector<std::string> problems = c.verify();
  const std::string hash = problems.empty() ? c.parameters_hash() : "";
  if (json_) {
    Json all = {{"path", c.folder()},
                {"step", c.manifest().progress.step},
                {"good", problems.empty()},
                {"bytes", size_of(c)},
                {"parameters_hash", problems.empty() ? Json(hash) : Json()},
                {"problems", problems}};
    std::cout << line_of(all) << std::endl;
  } else if (problems.empty()) {
    std::cout << fmt::format("{}: good, {} in {} tensors; parameters {}\n", c.folder(),
                             format_bytes(size_of(c)), c.manifest().contents.tensors.size(), hash);
  }
  for (const std::string& problem : problems) log::error(problem);
  return problems.empty() ? 0 : 4;
}

int CheckpointCommand::export_weights() const {
  const std::optional<Bytes> size = parse_bytes(file_size_);
  if (!size || *size == 0)
    throw ConfigError({"--file-size: got '" + file_size_ + "', need a size such as 5GB"});
  const Checkpoint from = opened(folder_);
  checkpoint::ExportOptions options{DType::f32, *size};
  if (dtype_ == "bf16") options.type = DType::bf16;
  if (dtype_ == "fp16") options.type = DType::f16;
  const std::uint64_t written = adapters_ ? checkpoint::export_adapters(from, out_, options.type)
                                          : checkpoint::export_folder(from, out_, options);
  if (json_)
    std::cout << line_of({{"from", from.folder()},
                          {"out", out_},
                          {"dtype", dtype_},
                          {"parameters", written}})
              << std::endl;
  else
    std::cout << fmt::format("{}: {} parameters of step {} in {}\n", out_, written,
                             from.manifest().progress.step, dtype_);
  return 0;
}

int CheckpointCommand::import_weights() const {
  const std::string made =
      checkpoint::import_folder(io::storage(), folder_, out_, std::string(version()));
  if (json_)
    std::cout << line_of({{"from", folder_}, {"path", made}}) << std::endl;
  else
    std::cout << fmt::format("{}: train it with --save {} --resume latest\n", made, out_);
  return 0;
}

int CheckpointCommand::diff() const {
  const Checkpoint a = opened(folder_), b = opened(other_);
  Json all = {{"equal", true}, {"tensors", Json::array()}};
  std::string text;
  const auto note = [&](const std::string& name, const std::string& how, Json row) {
    all["equal"] = false;
    row["name"] = name;
    row["how"] = how;
    all["tensors"].push_back(std::move(row));
    text += fmt::format("  {:<36} {}\n", name, how);
  };
  for (const Tensor& left : a.manifest().contents.tensors) {
    const Tensor* right = b.find(left.name);
    if (right == nullptr) {
      note(left.name, "only in the first", Json::object());
    } else if (right->shape != left.shape) {
      note(left.name, "another shape", Json::object());
    } else if (const Difference d = difference_of(a, b, left, *right); d.elements > 0) {
      note(left.name,
           fmt::format("{} of {} elements differ, by at most {:.3g}", d.elements,
                       left.shape.numel(), d.largest),
           {{"elements", d.elements}, {"largest", d.largest}});
    }
  }
  for (const Tensor& right : b.manifest().contents.tensors)
    if (a.find(right.name) == nullptr) note(right.name, "only in the second", Json::object());
  if (json_) {
    std::cout << line_of(all) << std::endl;
  } else {
    std::cout << (text.empty() ? "equal weights\n" : text);
  }
  return 0;
}

}  // namespace sherd::cli
