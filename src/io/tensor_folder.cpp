#include "sherd/io/tensor_folder.hpp"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "sherd/base/errors.hpp"
#include "sherd/io/json.hpp"

namespace sherd::io {
namespace {

using nlohmann::json;

constexpr std::size_t most_files = 512;  // each stays open

bool exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

bool is_plain_name(std::string_view name) {
  return name.ends_with(".safetensors") && name.front() != '.' &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

/// File name → tensors it must hold, from an index file.
std::map<std::string, std::vector<std::string>> read_weight_map(const File& file) {
  const json index = read_json(file);
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    throw DataError(file.path() + ": needs an object 'weight_map'");
  }
  std::map<std::string, std::vector<std::string>> shards;
  for (const auto& [tensor, shard] : index["weight_map"].items()) {
    if (!shard.is_string() || !is_plain_name(shard.get_ref<const std::string&>())) {
      throw DataError(file.path() + ": tensor '" + printable(tensor) +
                      "': needs the plain name of a .safetensors file in this folder, got " +
                      printable(shard.dump(-1, ' ', true)));
    }
    shards[shard.get<std::string>()].push_back(tensor);
  }
  if (shards.size() > most_files) {
    throw DataError(file.path() + ": names " + std::to_string(shards.size()) +
                    " files, need at most " + std::to_string(most_files));
  }
  return shards;
}

}  // namespace

TensorFolder::TensorFolder(const std::string& folder, const std::string& stem) : folder_(folder) {
  const std::string single = folder_ + "/" + stem + ".safetensors";
  const std::string index = single + ".index.json";
  if (exists(single)) {
    open_single(single);
  } else if (exists(index)) {
    open_sharded(index);
  } else {
    throw DataError(folder_ + ": has neither " + stem + ".safetensors nor " + stem +
                    ".safetensors.index.json");
  }
}

bool TensorFolder::holds_weights(const std::string& folder) {
  const std::string single = folder + "/model.safetensors";
  return exists(single) || exists(single + ".index.json");
}

void TensorFolder::open_single(const std::string& path) {
  files_.emplace_back(path);
  for (auto& [name, entry] : read_safetensors_index(files_.back())) {
    tensors_.emplace(name, Tensor{entry, 0});
  }
}

void TensorFolder::open_sharded(const std::string& index_path) {
  const File index_file(index_path);
  for (const auto& [shard, names] : read_weight_map(index_file)) {
    files_.emplace_back(folder_ + "/" + shard);
    const TensorIndex index = read_safetensors_index(files_.back());
    for (const std::string& name : names) {
      const auto found = index.find(name);
      if (found == index.end()) {
        throw DataError(files_.back().path() + ": lacks tensor '" + printable(name) +
                        "', which the index file promises");
      }
      tensors_.emplace(name, Tensor{found->second, files_.size() - 1});
    }
  }
}

const TensorFolder::Tensor& TensorFolder::loadable(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) throw DataError(folder_ + ": lacks tensor '" + name + "'");
  if (!found->second.entry.type) {
    throw DataError(files_[found->second.file].path() + ": tensor '" + name + "': has dtype " +
                    found->second.entry.dtype + ", need F32, F16 or BF16");
  }
  return found->second;
}

const TensorEntry& TensorFolder::at(const std::string& name) const { return loadable(name).entry; }

void TensorFolder::read(const std::string& name, std::span<std::byte> into, Bytes offset) const {
  const Tensor& tensor = loadable(name);
  expects(offset <= tensor.entry.bytes && into.size() <= tensor.entry.bytes - offset,
          "tensor_folder: got a range outside tensor '" + name + "'");
  files_[tensor.file].pread_exact(tensor.entry.offset + offset, into);
}

}  // namespace sherd::io
