const stored = new Map();

export const store = {
  get: async (id) => stored.get(id),
  set: async (id, data) => void stored.set(id, data),
  destroy: async (id) => void stored.delete(id),
};
