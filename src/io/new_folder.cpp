#include "sherd/io/new_folder.hpp"

#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "sherd/base/errors.hpp"

namespace sherd::io {
namespace {

std::string without_slashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == path.npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

// Another process that makes the same folder has another name for it: "." + name + "." + pid + end.
constexpr std::string_view partial = ".partial";
std::string hidden_stem(const std::string& place) {
  return "." + place.substr(place.rfind('/') + 1) + ".";
}
std::string hidden_beside(const std::string& place) {
  return parent_of(place) + "/" + hidden_stem(place) + std::to_string(::getpid()) +
         std::string(partial);
}

// Nobody holds it: who makes a folder keeps a lock on it, on this machine or another.
bool is_abandoned(Storage& storage, const std::string& folder) {
  const int opened = storage.open_folder(folder);
  if (opened < 0) return false;
  const Stored held(storage, folder, opened);
  return storage.lock(opened) >= 0;
}

// What a process that was killed had made of the same folder.
void remove_abandoned(Storage& storage, const std::string& place) {
  const std::string stem = hidden_stem(place), parent = parent_of(place);
  std::vector<std::string> beside;
  if (storage.list(parent, beside) < 0) return;
  for (const std::string& name : beside) {
    if (!name.starts_with(stem) || !name.ends_with(partial)) continue;
    const std::string_view middle =
        std::string_view(name).substr(stem.size(), name.size() - stem.size() - partial.size());
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(middle.data(), middle.data() + middle.size(), pid);
    if (error != std::errc{} || end != middle.data() + middle.size() || pid < 1) continue;
    if (pid != ::getpid() && (::kill(pid, 0) == 0 || errno != ESRCH)) continue;
    std::string folder = parent;
    folder += "/" + name;
    if (!is_abandoned(storage, folder)) continue;
    std::vector<std::string> files;
    (void)storage.list(folder, files);
    for (const std::string& file : files) (void)storage.remove(folder + "/" + file);
    (void)storage.remove(folder);
  }
}

}  // namespace

NewFolder::NewFolder(Storage& storage, std::string place)
    : storage_(storage), place_(without_slashes(std::move(place))), path_(hidden_beside(place_)) {
  const int there = storage.open_folder(place_);
  if (there >= 0) (void)storage.close(there);
  if (there != -ENOENT)
    throw ConfigError({"--out: " + place_ + " is there already; give a new folder"});
  remove_abandoned(storage, place_);
  if (const int made = storage.make_folder(path_); made < 0)
    throw ConfigError({"--out: cannot make " + place_ + " (" + std::strerror(-made) + ")"});
  if (const int folder = storage.open_folder(path_); folder >= 0) {
    held_ = Stored(storage, path_, folder);
    (void)storage.lock(folder);
  }
}

NewFolder::~NewFolder() {
  if (published_) return;
  for (const std::string& name : names_) (void)storage_.remove(path_ + "/" + name);
  (void)storage_.remove(path_);
}

Stored NewFolder::create(const std::string& name) {
  names_.push_back(name);
  return create_stored(storage_, path_ + "/" + name, Cache::through);
}

void NewFolder::write(const std::string& name, std::string_view text) {
  Stored file = create(name);
  file.write(0, std::as_bytes(std::span(text.data(), text.size())));
  file.sync();
  file.close();
}

void NewFolder::publish() {
  open_stored_folder(storage_, path_).sync();
  if (const int answer = storage_.rename(path_, place_); answer < 0)
    throw_stored(place_, "rename", answer);
  published_ = true;
  open_stored_folder(storage_, parent_of(place_)).sync();
}

std::uint64_t NewTensor::numel() const {
  std::uint64_t count = 1;
  for (const std::uint64_t size : shape) count *= size;
  return count;
}

std::string safetensors_head(std::span<const NewTensor> tensors) {
  nlohmann::ordered_json header;  // in the order of the format's own library
  header["__metadata__"] = {{"format", "pt"}};
  Bytes end = 0;
  for (const NewTensor& tensor : tensors) {
    const char* type = tensor.type == DType::f32    ? "F32"
                       : tensor.type == DType::bf16 ? "BF16"
                                                    : "F16";
    const Bytes first = end;
    end += bytes_of(tensor.type, tensor.numel());
    header[tensor.name] = {
        {"dtype", type}, {"shape", tensor.shape}, {"data_offsets", {first, end}}};
  }
  std::string text = header.dump();
  text.append(round_up(text.size(), 8) - text.size(), ' ');
  const std::uint64_t size = text.size();
  std::string head(sizeof size, '\0');
  std::memcpy(head.data(), &size, sizeof size);
  return head + text;
}

}  // namespace sherd::io
