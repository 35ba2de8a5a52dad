#include "sherd/checkpoint/store.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "sherd/base/errors.hpp"

namespace sherd::checkpoint {
namespace {

constexpr std::string_view visible = "step-", hidden = ".saving-", doomed = ".removed-";

std::optional<std::uint64_t> step_of(std::string_view name) {
  if (!name.starts_with(visible)) return {};
  name.remove_prefix(visible.size());
  std::uint64_t step = 0;
  const auto end = std::from_chars(name.data(), name.data() + name.size(), step);
  if (end.ec != std::errc{} || end.ptr != name.data() + name.size()) return {};
  return folder_name(step) == fmt::format("{}{}", visible, name) ? std::optional(step)
                                                                 : std::nullopt;
}

std::string part_name(int rank) { return fmt::format(".part-{:03}.json", rank); }

// Small files: through the page cache, and synced where they stay.
void write_file(io::Storage& storage, const std::string& path, std::string_view text, bool sync) {
  io::Stored file = io::create_stored(storage, path, io::Cache::through);
  file.write(0, std::as_bytes(std::span(text.data(), text.size())));
  if (sync) file.sync();
  file.close();
}

}  // namespace

std::string folder_name(std::uint64_t step) { return fmt::format("{}{:012}", visible, step); }

std::vector<Found> list(io::Storage& storage, const std::string& root) {
  std::vector<std::string> names;
  const int answer = storage.list(root, names);
  if (answer == -ENOENT) return {};
  if (answer < 0) io::throw_stored(root, "opendir", answer);
  std::vector<Found> found;
  for (const std::string& name : names) {
    if (const auto step = step_of(name)) found.push_back({*step, root + "/" + name});
  }
  std::ranges::sort(found, std::greater{}, &Found::step);
  return found;
}

Store::Store(io::Storage& storage, std::string root) : storage_(storage), root_(std::move(root)) {
  while (root_.size() > 1 && root_.back() == '/') root_.pop_back();
}

void Store::make_root() const {
  for (std::size_t at = root_.find('/', 1);; at = root_.find('/', at + 1)) {
    const std::string path = root_.substr(0, at);
    const int made = storage_.make_folder(path);
    if (made < 0 && made != -EEXIST && at == root_.npos)
      throw ConfigError({"--save: cannot make " + path + " (" + std::strerror(-made) + ")"});
    if (at == root_.npos) return;
  }
}

void Store::enter() {
  make_root();
  const int folder = storage_.open_folder(root_);
  if (folder < 0)
    throw ConfigError({"--save: cannot use " + root_ + " (" + std::strerror(-folder) + ")"});
  held_ = io::Stored(storage_, root_, folder);
  const int got = storage_.lock(folder);
  if (got == -EAGAIN || got == -EACCES)
    throw ConfigError({"--save: another run saves into " + root_ + "; give each run its own"});
  for (const std::string& name : names(root_)) {
    if (name.starts_with(hidden) || name.starts_with(doomed)) remove(root_ + "/" + name);
  }
}

std::vector<std::string> Store::names(const std::string& folder) const {
  std::vector<std::string> all;
  const int answer = storage_.list(folder, all);
  if (answer < 0) io::throw_stored(folder, "opendir", answer);
  std::ranges::sort(all);
  return all;
}

std::string Store::draft(std::uint64_t step, std::uint64_t attempt) const {
  return fmt::format("{}/{}{}-{}", root_, hidden, folder_name(step), attempt);
}

void Store::put_part(const std::string& draft, Rank rank, const Contents& part) {
  write_file(storage_, draft + "/" + part_name(rank), to_text(part), false);
}

std::string Store::publish(const std::string& draft, Manifest manifest, Bytes& bytes) {
  std::vector<Contents> parts;
  for (int rank = 0; rank < manifest.world; ++rank) {
    const std::string path = draft + "/" + part_name(rank);
    const io::Stored file = io::open_stored(storage_, path);
    std::string text(file.size(), '\0');
    file.read(0, std::as_writable_bytes(std::span(text)));
    parts.push_back(parse_part(path, text));
  }
  manifest.contents = merged(std::move(parts));
  for (int rank = 0; rank < manifest.world; ++rank) {
    const std::string path = draft + "/" + part_name(rank);
    if (const int answer = storage_.remove(path); answer < 0)
      io::throw_stored(path, "unlink", answer);
  }
  const std::string text = to_text(manifest);
  write_file(storage_, draft + "/" + manifest_name, text, true);
  io::open_stored_folder(storage_, draft).sync();
  const std::string folder = root_ + "/" + folder_name(manifest.progress.step);
  int answer = storage_.rename(draft, folder);
  if (answer == -EEXIST) {  // a run that went on from an older one is there again
    remove(folder);
    answer = storage_.rename(draft, folder);
  }
  if (answer < 0) io::throw_stored(folder, "rename", answer);
  bytes = text.size();
  for (const FileEntry& file : manifest.contents.files) bytes += file.size;
  io::open_stored_folder(storage_, root_).sync();
  return folder;
}

void Store::remove(const std::string& folder) {
  std::string path = folder;
  const std::string name = folder.substr(folder.rfind('/') + 1);
  if (!name.starts_with('.')) {
    path = fmt::format("{}/{}{}", root_, doomed, name);
    if (const int answer = storage_.rename(folder, path); answer < 0)
      io::throw_stored(folder, "rename", answer);
    // Half of it must not become visible again.
    io::open_stored_folder(storage_, root_).sync();
  }
  for (const std::string& inside : names(path)) {
    const std::string file = path + "/" + inside;
    if (const int answer = storage_.remove(file); answer < 0)
      io::throw_stored(file, "unlink", answer);
  }
  if (const int answer = storage_.remove(path); answer < 0) io::throw_stored(path, "rmdir", answer);
}

void Store::keep(std::size_t count) {
  const std::vector<Found> all = list(storage_, root_);
  for (std::size_t i = std::max<std::size_t>(count, 1); i < all.size(); ++i) remove(all[i].folder);
}

}  // namespace sherd::checkpoint
