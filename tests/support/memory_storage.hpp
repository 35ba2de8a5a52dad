#pragma once
// A file system in memory with the answers of the real one, and a journal of what changed.
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "sherd/io/record_file.hpp"
#include "sherd/io/storage.hpp"
#include "support/storage_journal.hpp"

namespace sherd::test {

/// **Order** any thread. `before` is asked at every call and may answer in its place.
class MemoryStorage : public io::Storage {
 public:
  MemoryStorage() = default;
  explicit MemoryStorage(Tree tree) : tree_(std::move(tree)) {}

  [[nodiscard]] Tree tree() const {
    return locked([&] { return tree_; });
  }
  /// Since the last `forget`.
  [[nodiscard]] std::vector<Change> journal() const {
    return locked([&] { return journal_; });
  }
  [[nodiscard]] std::size_t changes() const {
    return locked([&] { return journal_.size(); });
  }
  void forget() {
    locked([&] { journal_.clear(); });
  }
  [[nodiscard]] std::size_t open_files() const {
    return locked([&] { return files_.size(); });
  }
  void set_room(Bytes bytes) {
    locked([&] { room_ = bytes; });
  }
  /// Changes bytes behind everybody's back.
  void alter(const std::string& path, FileBytes bytes) {
    locked([&] {
      tree_.nodes.at(tree_.find(path)).bytes = std::make_shared<FileBytes>(std::move(bytes));
    });
  }
  [[nodiscard]] FileBytes bytes_of(const std::string& path) const {
    return locked([&] { return *tree_.nodes.at(tree_.find(path)).bytes; });
  }

  int make_folder(const std::string& path) override {
    return made("mkdir", path, {.folder = true});
  }
  int create(const std::string& path, io::Cache cache) override {
    const int node = made("create", path, {});
    return node < 0 ? node : opened(path, cache == io::Cache::past);
  }
  int open(const std::string& path, io::Cache cache) override {
    if (const auto said = before("open", path)) return static_cast<int>(said);
    return locked([&] {
      const int node = tree_.find(path);
      if (node < 0) return node;
      return tree_.nodes.at(node).folder ? -EINVAL : hold(node, cache == io::Cache::past);
    });
  }
  int open_folder(const std::string& path) override {
    if (const auto said = before("open_folder", path)) return static_cast<int>(said);
    return locked([&] {
      const int node = tree_.find(path);
      if (node < 0) return node;
      return tree_.nodes.at(node).folder ? hold(node, false) : -ENOTDIR;
    });
  }
  int close(int file) override {
    const std::int64_t said = before("close", name_of(file));
    return locked([&] {
      if (files_.erase(file) == 0) return -EBADF;
      std::erase_if(locks_, [&](const auto& held) { return held.second == file; });
      return static_cast<int>(said);  // the descriptor is gone whatever is said
    });
  }
  int reserve(int file, Bytes size) override {
    if (const auto said = before("reserve", name_of(file))) return static_cast<int>(said);
    return locked([&] {
      const int node = files_.at(file).node;
      if (size > room_) return -ENOSPC;
      grow(node, size);
      journal_.push_back({.kind = Change::Kind::size, .node = node, .size = size});
      return 0;
    });
  }
  std::int64_t size(int file) override {
    if (const auto said = before("size", name_of(file))) return said;
    return locked([&] {
      return static_cast<std::int64_t>(tree_.nodes.at(files_.at(file).node).bytes->size());
    });
  }
  std::int64_t write(int file, Bytes offset, std::span<const std::byte> from) override {
    const std::int64_t said = before("write", name_of(file));
    if (said < 0) return said;
    const std::size_t size = from.size();
    if (said > 0) from = from.first((from.size() + 1) / 2);
    return locked([&]() -> std::int64_t {
      const Held& held = files_.at(file);
      if (!held.takes(offset, size, from.data())) return -EINVAL;
      if (offset + from.size() > room_) return -ENOSPC;
      put(held.node, offset, from);
      journal_.push_back({.kind = Change::Kind::write,
                          .node = held.node,
                          .offset = offset,
                          .bytes = std::make_shared<FileBytes>(from.begin(), from.end())});
      return static_cast<std::int64_t>(from.size());
    });
  }
  std::int64_t read(int file, Bytes offset, std::span<std::byte> into) override {
    const std::int64_t said = before("read", name_of(file));
    if (said < 0) return said;
    const std::size_t size = into.size();
    if (said > 0) into = into.first((into.size() + 1) / 2);
    return locked([&]() -> std::int64_t {
      const Held& held = files_.at(file);
      if (!held.takes(offset, size, into.data())) return -EINVAL;
      const FileBytes& all = *tree_.nodes.at(held.node).bytes;
      const std::size_t first = std::min<std::size_t>(offset, all.size());
      const std::size_t count = std::min(into.size(), all.size() - first);
      if (count > 0) std::memcpy(into.data(), all.data() + first, count);
      return static_cast<std::int64_t>(count);
    });
  }
  int sync(int file) override {
    if (const auto said = before("sync", name_of(file))) return static_cast<int>(said);
    return locked([&] {
      journal_.push_back({.kind = Change::Kind::sync, .node = files_.at(file).node});
      return 0;
    });
  }
  int lock(int folder) override {
    if (const auto said = before("lock", name_of(folder))) return static_cast<int>(said);
    return locked([&] {
      const auto [at, taken] = locks_.try_emplace(files_.at(folder).node, folder);
      return taken || at->second == folder ? 0 : -EAGAIN;
    });
  }
  int rename(const std::string& from, const std::string& to) override {
    if (const auto said = before("rename", from)) return static_cast<int>(said);
    return locked([&] {
      const int node = tree_.find(from);
      if (node < 0) return node;
      if (tree_.find(to) > 0) return -EEXIST;
      return named({{last_of(from), 0}, {last_of(to), node}}, parent_of(from), parent_of(to));
    });
  }
  int exchange(const std::string& one, const std::string& other) override {
    if (const auto said = before("exchange", one)) return static_cast<int>(said);
    return locked([&] {
      const int a = tree_.find(one), b = tree_.find(other);
      if (a < 0 || b < 0) return -ENOENT;
      return named({{last_of(one), b}, {last_of(other), a}}, parent_of(one), parent_of(other));
    });
  }
  int remove(const std::string& path) override {
    if (const auto said = before("remove", path)) return static_cast<int>(said);
    return locked([&] {
      const int node = tree_.find(path);
      if (node < 0) return node;
      if (!tree_.nodes.at(node).names.empty()) return -ENOTEMPTY;
      return named({{last_of(path), 0}}, parent_of(path), parent_of(path));
    });
  }
  int list(const std::string& folder, std::vector<std::string>& names) override {
    if (const auto said = before("list", folder)) return static_cast<int>(said);
    return locked([&] {
      const int node = tree_.find(folder);
      if (node < 0) return node;
      if (!tree_.nodes.at(node).folder) return -ENOTDIR;
      for (const auto& [name, inside] : tree_.nodes.at(node).names) names.push_back(name);
      return 0;
    });
  }
  std::int64_t room(const std::string& folder) override {
    if (const auto said = before("room", folder)) return said;
    return locked([&] { return static_cast<std::int64_t>(room_); });
  }

 protected:
  /// 0 goes on; an errno below zero is the answer; above zero a read or write is cut short.
  virtual std::int64_t before(std::string_view, const std::string&) { return 0; }

 private:
  struct Held {
    int node = 0;
    bool direct = false;
    std::string path{};

    [[nodiscard]] bool takes(Bytes offset, Bytes size, const std::byte* memory) const {
      const auto address = reinterpret_cast<std::uintptr_t>(memory);
      return !direct || (offset | size | address) % io::direct_block == 0;
    }
  };

  template <class Body>
  std::invoke_result_t<Body> locked(Body&& body) const {
    const std::scoped_lock lock(mutex_);
    return body();
  }
  static std::string last_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }
  static std::string parent_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

  [[nodiscard]] std::string name_of(int file) const {
    return locked([&] {
      const auto at = files_.find(file);
      return at == files_.end() ? std::string() : at->second.path;
    });
  }
  int made(std::string_view call, const std::string& path, Tree::Node node) {
    if (const auto said = before(call, path)) return static_cast<int>(said);
    return locked([&] {
      const int parent = tree_.find(parent_of(path));
      if (parent < 0) return parent;
      if (!tree_.nodes.at(parent).folder) return -ENOTDIR;
      if (tree_.find(path) > 0) return -EEXIST;
      const int number = tree_.next++;
      tree_.nodes[number] = std::move(node);
      return named({{last_of(path), number}}, parent_of(path), parent_of(path));
    });
  }
  int opened(const std::string& path, bool direct) {
    return locked([&] { return hold(tree_.find(path), direct, path); });
  }
  int hold(int node, bool direct, std::string path = "") {
    if (path.empty()) path = tree_.path_of(node);
    files_[++last_file_] = {node, direct, std::move(path)};
    return last_file_;
  }
  int named(std::vector<std::pair<std::string, int>> names, const std::string& from,
            const std::string& to) {
    if (from != to) return -EXDEV;  // nothing here needs more
    const int parent = tree_.find(from);
    auto& all = tree_.nodes.at(parent).names;
    for (const auto& [name, node] : names) {
      if (node == 0)
        all.erase(name);
      else
        all[name] = node;
    }
    journal_.push_back({.kind = Change::Kind::names, .node = parent, .names = std::move(names)});
    return 0;
  }
  void grow(int node, Bytes size) {
    const FileBytes& now = *tree_.nodes.at(node).bytes;
    if (now.size() >= size) return;
    auto more = std::make_shared<FileBytes>(now);
    more->resize(size);
    tree_.nodes.at(node).bytes = std::move(more);
  }
  void put(int node, Bytes offset, std::span<const std::byte> from) {
    auto now = std::make_shared<FileBytes>(*tree_.nodes.at(node).bytes);
    now->resize(std::max<std::size_t>(now->size(), offset + from.size()));
    std::copy(from.begin(), from.end(), now->begin() + static_cast<std::ptrdiff_t>(offset));
    tree_.nodes.at(node).bytes = std::move(now);
  }

  mutable std::mutex mutex_;
  Tree tree_;
  std::map<int, Held> files_;
  std::map<int, int> locks_;  // descriptor by folder
  std::vector<Change> journal_;
  Bytes room_ = Bytes{1} << 40;
  int last_file_ = 2;
};

}  // namespace sherd::test
